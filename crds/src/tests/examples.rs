use super::rules::{Example, Transition};

const REQUEST_ABOVE_LIMIT: &str = "a request of cpu or memory may not be above its limit";
const STORAGE_STAYS: &str = "redis.storage can be neither added nor removed later, or Redis would start empty: make another Hyperpage";
const CLASS_STAYS: &str =
    "redis.storage.storageClassName cannot be changed: a volume stays in the class it was made in";

const MAX_UNAVAILABLE: &str = "podDisruptionBudget.maxUnavailable is a number above 0, or a percentage above 0% such as \"25%\": with 0 no \
     node could ever be drained";
const MIN_AVAILABLE: &str = "podDisruptionBudget.minAvailable is a number, or a percentage below 100% such as \"50%\": with 100% no node \
     could ever be drained";
const DRAINABLE: &str = "podDisruptionBudget.minAvailable, if a percentage rounded up, must be less than replicas, or than \
     autoscaling.minReplicas: otherwise no node could ever be drained";

pub(super) const EXAMPLES: &[Example] = &[
    Example {
        at: "",
        message: "metadata.name may have at most 45 characters, so that the names of its children fit",
        accepts: "metadata: {name: abcdefghijabcdefghijabcdefghijabcdefghijabcde}",
        rejects: "metadata: {name: abcdefghijabcdefghijabcdefghijabcdefghijabcdef}",
    },
    Example {
        at: "",
        message: "metadata.name must be a DNS label: lower-case letters, digits and '-', beginning with a letter",
        accepts: "metadata: {name: a-1}",
        rejects: "metadata: {name: a.b}",
    },
    Example {
        at: "",
        message: "metadata.name may not contain '-hp-': names of that shape belong to the children of a Hyperpage",
        accepts: "metadata: {name: a-hp}",
        rejects: "metadata: {name: a-hp-redis}",
    },
    Example {
        at: "spec",
        message: "autoscaling.targetCPUUtilizationPercentage is a share of app.resources.requests.cpu: set that request",
        accepts: "spec: {autoscaling: {maxReplicas: 5, targetCPUUtilizationPercentage: 70}, app: {resources: {limits: {cpu: 1}}}}",
        rejects: "spec: {autoscaling: {maxReplicas: 5, targetCPUUtilizationPercentage: 70}, app: {resources: {limits: {memory: 1Gi}}}}",
    },
    Example {
        at: "spec",
        message: "autoscaling.targetMemoryUtilizationPercentage is a share of app.resources.requests.memory: set that request",
        accepts: "spec: {autoscaling: {maxReplicas: 5, targetMemoryUtilizationPercentage: 70}, app: {resources: {requests: {memory: 1Gi}}}}",
        rejects: "spec: {autoscaling: {maxReplicas: 5, targetMemoryUtilizationPercentage: 70}, app: {resources: {requests: {cpu: 1}}}}",
    },
    Example {
        at: "spec",
        message: DRAINABLE,
        accepts: "spec: {replicas: 0, podDisruptionBudget: {minAvailable: 2}}",
        rejects: "spec: {replicas: 2, podDisruptionBudget: {minAvailable: 2}}",
    },
    Example {
        at: "spec",
        message: DRAINABLE,
        accepts: "spec: {replicas: 1, podDisruptionBudget: {minAvailable: 2}, autoscaling: {minReplicas: 3, maxReplicas: 4, targetCPUUtilizationPercentage: 70}}",
        rejects: "spec: {replicas: 9, podDisruptionBudget: {minAvailable: 2}, autoscaling: {minReplicas: 2, maxReplicas: 4, targetCPUUtilizationPercentage: 70}}",
    },
    Example {
        at: "spec",
        message: DRAINABLE,
        accepts: "spec: {replicas: 4, podDisruptionBudget: {minAvailable: 75%}}",
        rejects: "spec: {replicas: 4, podDisruptionBudget: {minAvailable: 76%}}",
    },
    Example {
        at: "spec.app",
        message: "app.port may not be 4100 or 4101: the sidecar listens there",
        accepts: "spec: {app: {port: 4102}}",
        rejects: "spec: {app: {port: 4101}}",
    },
    Example {
        at: "spec.app",
        message: "app.drainSeconds must be less than app.terminationGracePeriodSeconds, or the app gets no time to stop",
        accepts: "spec: {app: {drainSeconds: 44}}",
        rejects: "spec: {app: {drainSeconds: 45}}",
    },
    Example {
        at: "spec.app.image",
        message: "app.image may not contain blanks",
        accepts: "spec: {app: {image: 'localhost:5000/a/b@sha256:00'}}",
        rejects: "spec: {app: {image: 'shop :1'}}",
    },
    Example {
        at: "spec.app.env",
        message: "app.env may not set REDIS_URL, HYPERPAGE_* or POD_*: the operator sets them",
        accepts: "spec: {app: {env: [{name: REDIS_URL_2, value: x}, {name: A}]}}",
        rejects: "spec: {app: {env: [{name: A}, {name: HYPERPAGE_URL, value: x}]}}",
    },
    Example {
        at: "spec.app.env",
        message: "an item of app.env has either value or valueFrom",
        accepts: "spec: {app: {env: [{name: A, value: x}, {name: B, value: '', valueFrom: {fieldRef: {fieldPath: metadata.uid}}}]}}",
        rejects: "spec: {app: {env: [{name: A, value: x, valueFrom: {fieldRef: {fieldPath: metadata.uid}}}]}}",
    },
    Example {
        at: "spec.app.resources",
        message: REQUEST_ABOVE_LIMIT,
        accepts: "spec: {app: {resources: {requests: {cpu: 1000m, memory: 1024Mi}, limits: {cpu: 1, memory: 1Gi}}}}",
        rejects: "spec: {app: {resources: {requests: {cpu: 1001m}, limits: {cpu: 1}}}}",
    },
    Example {
        at: "spec.app.podTemplate",
        message: "podTemplate may not set hostNetwork: pods obey the Pod Security Standard restricted",
        accepts: "spec: {app: {podTemplate: {spec: {nodeSelector: {disk: ssd}, containers: [{name: app}]}}}}",
        rejects: "spec: {app: {podTemplate: {spec: {hostNetwork: false}}}}",
    },
    Example {
        at: "spec.app.podTemplate",
        message: "podTemplate may not set restartPolicy: these pods always restart",
        accepts: "spec: {app: {podTemplate: {spec: {initContainers: [{name: a, restartPolicy: Always}]}}}}",
        rejects: "spec: {app: {podTemplate: {spec: {restartPolicy: Always}}}}",
    },
    Example {
        at: "spec.app.podTemplate",
        message: "podTemplate may not set labels under app.kubernetes.io/ or hyperpage.dev/: the operator sets them",
        accepts: "spec: {app: {podTemplate: {metadata: {labels: {team: a, x.app.kubernetes.io/b: c}}}}}",
        rejects: "spec: {app: {podTemplate: {metadata: {labels: {team: a, app.kubernetes.io/name: b}}}}}",
    },
    Example {
        at: "spec.app.podTemplate",
        message: "podTemplate may not set annotations under hyperpage.dev/: the operator sets them",
        accepts: "spec: {app: {podTemplate: {metadata: {annotations: {app.kubernetes.io/x: a}}}}}",
        rejects: "spec: {app: {podTemplate: {metadata: {annotations: {hyperpage.dev/redis-auth: a}}}}}",
    },
    Example {
        at: "spec.app.podTemplate",
        message: "app.podTemplate may not touch the container sidecar: it has fields of its own in spec.sidecar",
        accepts: "spec: {app: {podTemplate: {spec: {containers: [{name: app}, {name: sidecar-2}]}}}}",
        rejects: "spec: {app: {podTemplate: {spec: {containers: [{name: app}, {name: sidecar}]}}}}",
    },
    Example {
        at: "spec.app.podTemplate",
        message: "app.podTemplate may not have an init container named app or sidecar",
        accepts: "spec: {app: {podTemplate: {spec: {initContainers: [{name: migrate}]}}}}",
        rejects: "spec: {app: {podTemplate: {spec: {initContainers: [{name: migrate}, {name: sidecar}]}}}}",
    },
    Example {
        at: "spec.redis.podTemplate",
        message: "podTemplate may not set hostNetwork: pods obey the Pod Security Standard restricted",
        accepts: "spec: {redis: {podTemplate: {spec: {nodeSelector: {disk: ssd}}}}}",
        rejects: "spec: {redis: {podTemplate: {spec: {hostNetwork: true}}}}",
    },
    Example {
        at: "spec.redis.podTemplate",
        message: "podTemplate may not set restartPolicy: these pods always restart",
        accepts: "spec: {redis: {podTemplate: {spec: {containers: [{name: exporter}]}}}}",
        rejects: "spec: {redis: {podTemplate: {spec: {restartPolicy: Never}}}}",
    },
    Example {
        at: "spec.redis.podTemplate",
        message: "podTemplate may not set labels under app.kubernetes.io/ or hyperpage.dev/: the operator sets them",
        accepts: "spec: {redis: {podTemplate: {metadata: {labels: {team: a}}}}}",
        rejects: "spec: {redis: {podTemplate: {metadata: {labels: {hyperpage.dev/a: b}}}}}",
    },
    Example {
        at: "spec.redis.podTemplate",
        message: "podTemplate may not set annotations under hyperpage.dev/: the operator sets them",
        accepts: "spec: {redis: {podTemplate: {metadata: {annotations: {a: b}}}}}",
        rejects: "spec: {redis: {podTemplate: {metadata: {annotations: {hyperpage.dev/redis-config: a}}}}}",
    },
    Example {
        at: "spec.serviceAccount",
        message: "serviceAccount has a name or annotations, not both: the operator annotates only the account it makes",
        accepts: "spec: {serviceAccount: {name: mine}}",
        rejects: "spec: {serviceAccount: {name: mine, annotations: {a: b}}}",
    },
    Example {
        at: "spec.service",
        message: "service.nodePort needs service.type NodePort or LoadBalancer",
        accepts: "spec: {service: {type: NodePort, nodePort: 30080}}",
        rejects: "spec: {service: {nodePort: 30080}}",
    },
    Example {
        at: "spec.autoscaling",
        message: "autoscaling.minReplicas may not be above autoscaling.maxReplicas",
        accepts: "spec: {autoscaling: {minReplicas: 3, maxReplicas: 3, targetCPUUtilizationPercentage: 70}}",
        rejects: "spec: {autoscaling: {maxReplicas: 2, targetCPUUtilizationPercentage: 70}}",
    },
    Example {
        at: "spec.autoscaling",
        message: "autoscaling needs targetCPUUtilizationPercentage, targetMemoryUtilizationPercentage or metrics",
        accepts: "spec: {autoscaling: {maxReplicas: 5, metrics: [{type: Pods, pods: {metric: {name: m}, target: {type: AverageValue, averageValue: '1'}}}]}}",
        rejects: "spec: {autoscaling: {maxReplicas: 5, metrics: []}}",
    },
    Example {
        at: "spec.podDisruptionBudget",
        message: "podDisruptionBudget has either maxUnavailable or minAvailable",
        accepts: "spec: {podDisruptionBudget: {maxUnavailable: 1000}}",
        rejects: "spec: {podDisruptionBudget: {maxUnavailable: 1, minAvailable: 1}}",
    },
    Example {
        at: "spec.podDisruptionBudget",
        message: "podDisruptionBudget has either maxUnavailable or minAvailable",
        accepts: "spec: {podDisruptionBudget: {minAvailable: 0}}",
        rejects: "spec: {podDisruptionBudget: {}}",
    },
    Example {
        at: "spec.podDisruptionBudget.maxUnavailable",
        message: MAX_UNAVAILABLE,
        accepts: "spec: {podDisruptionBudget: {maxUnavailable: 1}}",
        rejects: "spec: {podDisruptionBudget: {maxUnavailable: 0}}",
    },
    Example {
        at: "spec.podDisruptionBudget.maxUnavailable",
        message: MAX_UNAVAILABLE,
        accepts: "spec: {podDisruptionBudget: {maxUnavailable: 1%}}",
        rejects: "spec: {podDisruptionBudget: {maxUnavailable: 0%}}",
    },
    Example {
        at: "spec.podDisruptionBudget.minAvailable",
        message: MIN_AVAILABLE,
        accepts: "spec: {replicas: 1000, podDisruptionBudget: {minAvailable: 99%}}",
        rejects: "spec: {replicas: 1000, podDisruptionBudget: {minAvailable: 100%}}",
    },
    Example {
        at: "spec.podDisruptionBudget.minAvailable",
        message: MIN_AVAILABLE,
        accepts: "spec: {podDisruptionBudget: {minAvailable: 0%}}",
        rejects: "spec: {podDisruptionBudget: {minAvailable: half}}",
    },
    Example {
        at: "spec.networkPolicy.appFrom",
        message: "an item of networkPolicy.appFrom has either ipBlock or selectors",
        accepts: "spec: {networkPolicy: {appFrom: [{podSelector: {}, namespaceSelector: {}}, {ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}}]}}",
        rejects: "spec: {networkPolicy: {appFrom: [{podSelector: {}, ipBlock: {cidr: 10.0.0.0/8}}]}}",
    },
    Example {
        at: "spec.networkPolicy.appFrom",
        message: "an item of networkPolicy.appFrom has either ipBlock or selectors",
        accepts: "spec: {networkPolicy: {appFrom: [{namespaceSelector: {matchLabels: {team: a}}}]}}",
        rejects: "spec: {networkPolicy: {appFrom: [{podSelector: {}}, {}]}}",
    },
    Example {
        at: "spec.networkPolicy.metricsFrom",
        message: "an item of networkPolicy.metricsFrom has either ipBlock or selectors",
        accepts: "spec: {networkPolicy: {metricsFrom: [{podSelector: {}, namespaceSelector: {}}, {ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}}]}}",
        rejects: "spec: {networkPolicy: {metricsFrom: [{podSelector: {}, ipBlock: {cidr: 10.0.0.0/8}}]}}",
    },
    Example {
        at: "spec.networkPolicy.metricsFrom",
        message: "an item of networkPolicy.metricsFrom has either ipBlock or selectors",
        accepts: "spec: {networkPolicy: {metricsFrom: [{namespaceSelector: {matchLabels: {team: a}}}]}}",
        rejects: "spec: {networkPolicy: {metricsFrom: [{podSelector: {}}, {}]}}",
    },
    Example {
        at: "spec.sidecar.image",
        message: "sidecar.image may not contain blanks",
        accepts: "spec: {sidecar: {image: a}}",
        rejects: "spec: {sidecar: {image: ' a'}}",
    },
    Example {
        at: "spec.sidecar.sessions",
        message: "sessions.bindIp and sessions.createLimitPerMinute need sessions.trustedHops, or no address is known",
        accepts: "spec: {sidecar: {sessions: {bindIp: subnet, createLimitPerMinute: 60, trustedHops: 1}}}",
        rejects: "spec: {sidecar: {sessions: {bindIp: subnet, trustedHops: 0}}}",
    },
    Example {
        at: "spec.sidecar.resources",
        message: "sidecar.resources.requests must keep cpu and memory: without them an autoscaler cannot count the pod",
        accepts: "spec: {sidecar: {resources: {requests: {cpu: 1, memory: 64Mi}}}}",
        rejects: "spec: {sidecar: {resources: {requests: {cpu: 1}}}}",
    },
    Example {
        at: "spec.sidecar.resources",
        message: REQUEST_ABOVE_LIMIT,
        accepts: "spec: {sidecar: {resources: {requests: {cpu: 20m, memory: 32Mi}, limits: {memory: 64Mi}}}}",
        rejects: "spec: {sidecar: {resources: {requests: {cpu: 20m, memory: 32Mi}, limits: {memory: 16Mi}}}}",
    },
    Example {
        at: "spec.redis",
        message: "redis.external is set exactly when redis.mode is External",
        accepts: "spec: {redis: {mode: External, external: {urlSecretRef: {name: u, key: url}}}}",
        rejects: "spec: {redis: {external: {urlSecretRef: {name: u, key: url}}}}",
    },
    Example {
        at: "spec.redis",
        message: "with redis.mode External nothing is said of a Redis that the operator would run: no image, resources, \
                  storage, config, podTemplate or passwordSecretRef",
        accepts: "spec: {redis: {passwordSecretRef: {name: p, key: password}, image: 'redis:8'}}",
        rejects: "spec: {redis: {mode: External, external: {urlSecretRef: {name: u, key: url}}, \
                  passwordSecretRef: {name: p, key: password}}}",
    },
    Example {
        at: "spec.redis.image",
        message: "redis.image may not contain blanks",
        accepts: "spec: {redis: {image: 'redis:8'}}",
        rejects: "spec: {redis: {image: \"redis:8\\n\"}}",
    },
    Example {
        at: "spec.redis.resources",
        message: REQUEST_ABOVE_LIMIT,
        accepts: "spec: {redis: {resources: {requests: {memory: 64Mi}, limits: {memory: 64Mi}}}}",
        rejects: "spec: {redis: {resources: {requests: {memory: 65Mi}, limits: {memory: 64Mi}}}}",
    },
    Example {
        at: "spec.redis.resources",
        message: "redis.resources needs limits.memory: maxmemory is 60 % of it",
        accepts: "spec: {redis: {resources: {limits: {memory: 1Gi}}}}",
        rejects: "spec: {redis: {resources: {requests: {cpu: 100m}}}}",
    },
    Example {
        at: "spec.redis.resources",
        message: "redis.resources.limits.memory must be at least 64Mi",
        accepts: "spec: {redis: {resources: {limits: {memory: 64Mi}}}}",
        rejects: "spec: {redis: {resources: {limits: {memory: 63Mi}}}}",
    },
    Example {
        at: "spec.redis.config",
        message: "a name in redis.config is a directive of redis.conf: lower-case letters, digits and '-'",
        accepts: "spec: {redis: {config: {lua-time-limit: '5000'}}}",
        rejects: "spec: {redis: {config: {'hz 20': ''}}}",
    },
    Example {
        at: "spec.redis.config",
        message: "a value in redis.config is one line",
        accepts: "spec: {redis: {config: {save: '3600 1 300 100'}}}",
        rejects: "spec: {redis: {config: {hz: \"20\\nrequirepass x\"}}}",
    },
    Example {
        at: "spec.redis.config",
        message: "redis.config may not set a directive that the operator sets: where Redis listens, who may enter, where and \
                  how data is kept, and maxmemory, which follows redis.resources.limits.memory",
        accepts: "spec: {redis: {config: {maxmemory-samples: '5'}}}",
        rejects: "spec: {redis: {config: {maxmemory: '0'}}}",
    },
    Example {
        at: "spec.redis.storage.size",
        message: "redis.storage.size must be more than 0",
        accepts: "spec: {redis: {storage: {size: 1Gi}}}",
        rejects: "spec: {redis: {storage: {size: '0'}}}",
    },
];

/// Rules that compare with what was stored before.
pub(super) const TRANSITIONS: &[Transition] = &[
    Transition {
        at: "spec.redis",
        message: STORAGE_STAYS,
        before: "spec: {redis: {storage: {size: 1Gi}}}",
        accepts: "spec: {redis: {storage: {size: 1Gi, retentionPolicy: Delete}}}",
        rejects: "spec: {}",
    },
    Transition {
        at: "spec.redis",
        message: STORAGE_STAYS,
        before: "spec: {}",
        accepts: "spec: {redis: {config: {hz: '20'}}}",
        rejects: "spec: {redis: {storage: {size: 1Gi}}}",
    },
    Transition {
        at: "spec.redis.storage",
        message: CLASS_STAYS,
        before: "spec: {redis: {storage: {size: 1Gi, storageClassName: fast}}}",
        accepts: "spec: {redis: {storage: {size: 2Gi, storageClassName: fast}}}",
        rejects: "spec: {redis: {storage: {size: 1Gi, storageClassName: slow}}}",
    },
    Transition {
        at: "spec.redis.storage",
        message: CLASS_STAYS,
        before: "spec: {redis: {storage: {size: 1Gi, storageClassName: fast}}}",
        accepts: "spec: {redis: {storage: {size: 1Gi, storageClassName: fast}}}",
        rejects: "spec: {redis: {storage: {size: 1Gi}}}",
    },
    Transition {
        at: "spec.redis.storage.size",
        message: "redis.storage.size can grow and never shrink",
        before: "spec: {redis: {storage: {size: 1Gi}}}",
        accepts: "spec: {redis: {storage: {size: 1024Mi}}}",
        rejects: "spec: {redis: {storage: {size: 1023Mi}}}",
    },
];
