# shellcheck shell=bash
# What `make up` puts into the cluster: the operator by its Helm chart, and one Hyperpage.

RELEASE=hyperpage OPERATOR_NS=hyperpage-system CHART=$ROOT/charts/hyperpage-operator
DEMO_NS=demo EXAMPLE=$ROOT/examples/shop.yaml

namespace() {
  kubectl create namespace "$1" --dry-run=client -o yaml | kubectl apply -f -
  kubectl label --overwrite namespace "$1" pod-security.kubernetes.io/enforce=restricted
}

# Restart before waiting: what waits for a broken image would never see the one that mends it.
deploy_operator() {
  namespace "$OPERATOR_NS"
  helm upgrade --install "$RELEASE" "$CHART" --namespace "$OPERATOR_NS" \
    --set image.repository="${REF[operator]%:*}" --set image.tag="${REF[operator]##*:}" \
    --set sidecarImage="${REF[sidecar]}" --set redisImage="${REF[redis]}"
  renew "$OPERATOR_NS" deployment operator
  rolled_out "$OPERATOR_NS" deployment
}

deploy_example() {
  namespace "$DEMO_NS"
  sed "s|localhost/hyperpage-demo:0.1.0|${REF[demo]}|" "$EXAMPLE" | kubectl -n "$DEMO_NS" apply -f -
  renew "$DEMO_NS" statefulset redis
  renew "$DEMO_NS" deployment sidecar demo
  rolled_out "$DEMO_NS" statefulset
  rolled_out "$DEMO_NS" deployment
  kubectl -n "$DEMO_NS" wait hyperpage --all --for=condition=Ready --timeout=120s || { explain "$DEMO_NS"; return 1; }
}

# renew NAMESPACE KIND IMAGE…: an unchanged tag starts no new pods, so whoever still runs older bytes of one is restarted.
renew() {
  local namespace=$1 kind=$2 image mark digest known=''; shift 2
  mkdir -p "$STATE/deployed"
  for image in "$@"; do
    [[ " $CLUSTER_IMAGES " == *" $image "* ]] || continue   # pulled, not loaded
    mark=$STATE/deployed/$namespace-$image digest=$(image_digest "$IMG/$image.tar")
    [ ! -e "$mark" ] || [ "$(cat "$mark")" = "$digest" ] || known+="$image "
    echo "$digest" >"$mark"
  done
  [ -z "$known" ] || { say "changed: $known"; kubectl -n "$namespace" rollout restart "$kind"; }
}

# All of a kind in a namespace; none yet is fine.
rolled_out() {
  local name
  for name in $(kubectl -n "$1" get "$2" -o name); do
    kubectl -n "$1" rollout status "$name" --timeout=120s || { explain "$1"; return 1; }
  done
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
