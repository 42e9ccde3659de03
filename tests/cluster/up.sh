#!/usr/bin/env bash
# A real local Kubernetes with the operator and one running Hyperpage. Again after a change: only what changed.
#   --base  without the example Hyperpage
set -euo pipefail
. "$(dirname "$0")/lib/common.sh"
for part in step build image image-recipes preview deploy; do
  # shellcheck source=/dev/null
  . "$RIG/lib/$part.sh"
done

BASE=''
case ${1:-} in
  '') ;;
  --base) BASE=yes ;;
  *) STATUS=64 die "unknown option $1; there is --base" ;;
esac

FRESH=''   # set while a failure would leave half a cluster

# Whatever ends this run, an error or a signal: all or nothing of a cluster.
finish() {
  local status=$?
  trap '' INT TERM HUP
  trap - EXIT
  end_step
  preview_stop
  if [ "$status" != 0 ] && [ -n "$FRESH" ]; then
    say 'Removing the unfinished cluster (its logs stay in target/cluster/log) …'
    cluster_stop || warn 'something is left: make down'
  fi
  [ "$status" = 0 ] || say "${RED}make up did not finish.${PLAIN}"
  exit "$status"
}

# Binaries first: they take minutes when cold, and fail without touching the cluster.
build_all() {
  local build
  for build in $CLUSTER_BUILDS; do
    case $build in
      sidecar)
        step 'sidecar binary' '2 min the first time, then 1 s' build_rust sidecar
        preview_start ;;
      kubernetes) step 'Kubernetes binaries' '10 to 25 min the first time, then 1 s' build_kubernetes ;;
      operator) step 'operator binary' '3 min the first time, then 1 s' build_rust operator ;;
      images) step 'container images' '25 s the first time, then 1 s' build_images ;;
    esac
  done
}

build_images() {
  local name
  for name in $CLUSTER_IMAGES; do image_build "$name"; done
}

load_images() {
  local name
  for name in $CLUSTER_IMAGES; do cluster_load "$IMG/$name.tar"; done
}

# One that was made otherwise is made anew.
recipe() { cluster_recipe | sha256sum; }

cluster_up() {
  if [ -n "$INTACT" ]; then
    say 'The cluster is up: only what changed is renewed.'
    step 'changed images' '1 s' load_images
    return
  fi
  if [ -d "$STATE" ]; then
    say "Removing what is left of $(owner)'s cluster …"
    cluster_stop
  fi
  FRESH=yes
  cluster_start
  recipe >"$STATE/recipe"
}

farewell() {
  say ''
  [ -n "$BASE" ] || kubectl get hyperpages --all-namespaces 2>/dev/null || true
  local address; address=$(demo_address) || true
  [ -z "$address" ] || say "${BOLD}The demo: $address${PLAIN}"
  say "Total: $(clock $(($(now) - BEGAN)))."
  say "Next: eval \"\$(make -s kubeconfig)\" && kubectl get pods -A"
}

"$RIG/doctor.sh" --fix --brief   # says too when this is not root
cluster_needs up
take_lock 'make up'
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

INTACT=''
if cluster_intact && [ "$(cat "$STATE/recipe" 2>/dev/null)" = "$(recipe)" ]; then INTACT=yes; fi
# Builds, the cluster (or what changed in it), the operator, the example.
read -ra builds <<<"$CLUSTER_BUILDS"
STEPS=$((${#builds[@]} + 1 + CLUSTER_STEPS))
[ -z "$INTACT" ] || STEPS=$((${#builds[@]} + 2))
[ -n "$BASE" ] || STEPS=$((STEPS + 1))
build_all
cluster_up
step 'operator (Helm chart)' '10 s' deploy_operator
[ -n "$BASE" ] || step 'a Hyperpage in namespace demo' '20 s' deploy_example
FRESH=''
preview_stop
farewell
