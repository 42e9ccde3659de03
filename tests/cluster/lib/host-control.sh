# shellcheck shell=bash
# etcd, API server, controller-manager, scheduler; and what they need before the first node.

host_control_start() {
  mkdir -p "$STATE" "$RUN"
  echo "$OUT" >"$STATE/owner"
  echo starting >"$STATE/state"
  note_shared
  network_start
  pki_start
  rm -f "$OUT"/audit*.log "$LOG"/{etcd,kube-*,n[0-9]*-*}.log
  etcd_start
  apiserver_start
  wait_for 60 kubectl get --raw /readyz
  # Only now: started before RBAC's own roles exist they exit ("extension-apiserver-authentication is forbidden").
  managers_start
  kubectl apply -f "$RIG/addons/rbac.yaml"
}

etcd_start() {
  # No fsync: the data does not outlive the cluster, and slow disks make a slow API server.
  daemon etcd etcd --data-dir="$RUN/etcd" --unsafe-no-fsync --listen-client-urls="$ETCD" --advertise-client-urls="$ETCD" \
    --listen-peer-urls="$ETCD_PEER" --initial-advertise-peer-urls="$ETCD_PEER" --initial-cluster="default=$ETCD_PEER"
}

# Listens on the bridge only: nobody outside this machine sees it.
apiserver_start() {
  daemon kube-apiserver kube-apiserver --etcd-servers="$ETCD" --bind-address="$GATEWAY" --advertise-address="$GATEWAY" \
    --secure-port=6443 --service-cluster-ip-range="$SERVICES" --allow-privileged=true \
    --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction \
    --client-ca-file="$PKI/ca.crt" --tls-cert-file="$PKI/apiserver.crt" --tls-private-key-file="$PKI/apiserver.key" \
    --kubelet-certificate-authority="$PKI/ca.crt" --kubelet-preferred-address-types=InternalIP \
    --kubelet-client-certificate="$PKI/apiserver-kubelet.crt" --kubelet-client-key="$PKI/apiserver-kubelet.key" \
    --service-account-issuer=https://kubernetes.default.svc.cluster.local \
    --service-account-key-file="$PKI/service-account.key" --service-account-signing-key-file="$PKI/service-account.key" \
    --requestheader-client-ca-file="$PKI/front-ca.crt" --requestheader-allowed-names=front-proxy-client \
    --requestheader-username-headers=X-Remote-User --requestheader-group-headers=X-Remote-Group \
    --requestheader-extra-headers-prefix=X-Remote-Extra- --enable-aggregator-routing=true \
    --proxy-client-cert-file="$PKI/front-proxy.crt" --proxy-client-key-file="$PKI/front-proxy.key" \
    --audit-policy-file="$RIG/audit-policy.yaml" --audit-log-path="$OUT/audit.log" --audit-log-maxsize=500 \
    --default-not-ready-toleration-seconds=10 --default-unreachable-toleration-seconds=10
}

# Impatient on purpose: a lost node and a changed load must show within seconds, for tests and for people.
managers_start() {
  daemon kube-controller-manager kube-controller-manager --leader-elect=false --bind-address=127.0.0.1 \
    --kubeconfig="$PKI/controller-manager.kubeconfig" --authentication-kubeconfig="$PKI/controller-manager.kubeconfig" \
    --authorization-kubeconfig="$PKI/controller-manager.kubeconfig" --use-service-account-credentials=true \
    --service-account-private-key-file="$PKI/service-account.key" --root-ca-file="$PKI/ca.crt" \
    --cluster-signing-cert-file="$PKI/ca.crt" --cluster-signing-key-file="$PKI/ca.key" \
    --node-monitor-period=2s --node-monitor-grace-period=12s \
    --horizontal-pod-autoscaler-sync-period=5s --horizontal-pod-autoscaler-downscale-stabilization=15s \
    --horizontal-pod-autoscaler-initial-readiness-delay=5s --horizontal-pod-autoscaler-cpu-initialization-period=10s
  daemon kube-scheduler kube-scheduler --leader-elect=false --bind-address=127.0.0.1 \
    --kubeconfig="$PKI/scheduler.kubeconfig" --authentication-kubeconfig="$PKI/scheduler.kubeconfig" \
    --authorization-kubeconfig="$PKI/scheduler.kubeconfig"
}

host_addons_start() {
  # A pod made before the default service account is refused.
  wait_for 30 kubectl -n kube-system get serviceaccount default
  kubectl apply -f "$RIG/addons/"
  host_volumes
  kubectl -n kube-system wait --for=condition=Available deployment --all --timeout=90s
  wait_for 60 kubectl top nodes
}

host_volumes() {
  local i dir
  for i in $(seq "$NODES"); do
    dir=$RUN/n$i/volumes
    mkdir -p "$dir"/{1..8}; chmod 777 "$dir"/*
    local_volumes "$(node_name "$i")" "$dir" | kubectl apply -f -
  done
}
