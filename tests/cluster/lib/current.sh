# shellcheck shell=bash
# CLUSTER=current YES=1: the cluster that your kubectl talks to. Only the operator, the example and namespaces of tests
# are made there; its images must be where its nodes can pull them (`make images REGISTRY=… PUSH=1`).

CLUSTER_BUILDS=kubernetes   # kubectl and helm
CLUSTER_IMAGES=''           # nothing is loaded: whoever runs the nodes pulls
CLUSTER_STEPS=1

# Said before anything is done there.
cluster_needs() {
  local context server
  context=$(theirs config current-context 2>/dev/null) || die 'CLUSTER=current: kubectl has no current context.'
  server=$(theirs config view --minify -o jsonpath='{.clusters[0].cluster.server}')
  say "CLUSTER=current: context ${BOLD}$context${PLAIN}, API server $server"
  [ "${YES:-}" = 1 ] || STATUS=64 die 'Nothing was done. To go on with that cluster: the same command with YES=1.'
  [ "$1" = down ] || current_images
}

current_images() {
  local name
  [ -n "${REGISTRY:-}" ] || STATUS=64 die 'CLUSTER=current needs REGISTRY=…, from which its nodes pull (make images REGISTRY=… PUSH=1).'
  . "$RIG/lib/registry.sh"
  for name in operator sidecar demo; do REF["$name"]=${REGISTRY%/}/hyperpage-$name:$(version); done
  REF["redis"]=${REDIS_IMAGE:-redis:7-alpine}
}

theirs() { kubectl --kubeconfig "$THEIR_KUBECONFIG" "$@"; }

cluster_start() { step "the current context's kubeconfig, copied" "1 s" current_copy; }

# A copy of one context: what follows cannot reach another, whatever is chosen meanwhile.
current_copy() {
  mkdir -p "$STATE" "$OUT"
  echo "$OUT" >"$STATE/owner"; echo current >"$STATE/cluster"
  (umask 077; theirs config view --minify --flatten --raw >"$KUBECONFIG")
  kubectl get --raw /readyz
  local found
  found=$(helm list --all-namespaces --filter "^$RELEASE\$" --short; kubectl get namespace "$DEMO_NS" --ignore-not-found -o name)
  [ -z "$found" ] || die "There already, and not made by us: $found"
  echo up >"$STATE/state"
}

# Nothing but what we made. The definition stays: other Hyperpages than ours may be there.
cluster_stop() {
  [ -e "$STATE/state" ] || { rm -rf --one-file-system "$STATE" "$KUBECONFIG"; return; }
  kubectl delete namespace "$DEMO_NS" --ignore-not-found
  helm uninstall "$RELEASE" --namespace "$OPERATOR_NS" --ignore-not-found --wait
  kubectl delete namespace "$OPERATOR_NS" --ignore-not-found
  say 'The CustomResourceDefinition stays: kubectl delete crd hyperpages.hyperpage.dev removes every Hyperpage, too.'
  rm -rf --one-file-system "$STATE" "$KUBECONFIG"
}

cluster_intact() { [ "$(owner)" = "$OUT" ] && [ -s "$KUBECONFIG" ] && kubectl get --raw /readyz >/dev/null 2>&1; }
cluster_load() { say "not loaded: ${1##*/}; the nodes pull"; }
cluster_node_stop() { say 'skipped: nodes of CLUSTER=current are not stopped' >&2; return 1; }
cluster_node_start() { cluster_node_stop; }
cluster_recipe() { cat "$RIG/lib/current.sh"; }
cluster_traces() { :; }
