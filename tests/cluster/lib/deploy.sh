# shellcheck shell=bash
# What `make up` puts into the cluster: the operator by its Helm chart, and one Hyperpage.

RELEASE=hyperpage OPERATOR_NS=hyperpage-system CHART=$ROOT/charts/hyperpage-operator
DEMO_NS=demo EXAMPLE=$ROOT/examples/shop.yaml

namespace() {
  kubectl create namespace "$1" --dry-run=client -o yaml | kubectl apply -f -
  kubectl label --overwrite namespace "$1" pod-security.kubernetes.io/enforce=restricted
}

deploy_operator() {
  namespace "$OPERATOR_NS"
  helm upgrade --install "$RELEASE" "$CHART" --namespace "$OPERATOR_NS" --wait --timeout 2m \
    --set image.repository="${REF[operator]%:*}" --set image.tag="${REF[operator]##*:}" \
    --set sidecarImage="${REF[sidecar]}" --set redisImage="${REF[redis]}" ||
    { explain "$OPERATOR_NS"; return 1; }
  renew "$OPERATOR_NS" deployment operator
}

deploy_example() {
  namespace "$DEMO_NS"
  kubectl -n "$DEMO_NS" apply -f "$EXAMPLE"
  kubectl -n "$DEMO_NS" wait hyperpage --all --for=condition=Ready --timeout=120s || { explain "$DEMO_NS"; return 1; }
  renew "$DEMO_NS" deployment sidecar demo
  renew "$DEMO_NS" statefulset redis
}

# renew NAMESPACE KIND IMAGE…: an unchanged tag starts no new pods, so whoever still runs older bytes of one is restarted.
renew() {
  local namespace=$1 kind=$2 image changed=''; shift 2
  for image in "$@"; do
    [ "$(cat "$STATE/deployed/$namespace-$image" 2>/dev/null)" = "$(image_digest "$IMG/$image.tar")" ] || changed+="$image "
  done
  [ -n "$changed" ] || return 0
  mkdir -p "$STATE/deployed"
  if [ -e "$STATE/deployed/$namespace-${1}" ]; then
    say "changed: $changed"
    kubectl -n "$namespace" rollout restart "$kind" --all 2>/dev/null || kubectl -n "$namespace" rollout restart "$kind"
    kubectl -n "$namespace" get "$kind" -o name | xargs -r -n 1 kubectl -n "$namespace" rollout status --timeout=120s
  fi
  for image in "$@"; do image_digest "$IMG/$image.tar" >"$STATE/deployed/$namespace-$image"; done
}

# What a person would type next, in the log before it ends.
explain() {
  kubectl -n "$1" get hyperpages,deployments,statefulsets,pods -o wide || true
  kubectl -n "$1" get events --sort-by=.lastTimestamp | tail -n 12 || true
  kubectl -n "$1" logs --all-containers --prefix --tail=5 --selector=app.kubernetes.io/name=hyperpage-operator || true
} 2>&1

# Where a browser or curl on this machine reaches the example.
demo_address() {
  kubectl -n "$DEMO_NS" get service shop -o jsonpath='http://{.spec.clusterIP}:{.spec.ports[0].port}' 2>/dev/null | sed 's/:80$//'
}
