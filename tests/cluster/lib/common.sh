# shellcheck shell=bash
# What every script here shares: paths, words on the screen, the machine-wide lock, and the choice of cluster.
#
# A cluster is behind a small interface, so that the rest need not know which one it is:
#   cluster_needs up|down                  says what is missing, or would be touched, and ends there
#   cluster_start | cluster_stop           all of it, from nothing and to nothing
#   cluster_intact                         is it up, whole, and made by this checkout?
#   cluster_load IMAGE.tar                 put one docker-archive on every node
#   cluster_node_stop N | _node_start N    lose a node, and get it back
#   cluster_recipe                         all that says how it is made: made otherwise, it is made anew
#   cluster_traces                         what it could leave on this machine
#   CLUSTER_BUILDS, CLUSTER_IMAGES, CLUSTER_STEPS   what is built here for it, and the steps of cluster_start
# The kubeconfig is $KUBECONFIG below, for every kind of cluster.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../.." && pwd -P)
RIG=$ROOT/tests/cluster
OUT=$ROOT/target/cluster                 # what may be thrown away with target/
BIN=$OUT/bin IMG=$OUT/img LOG=$OUT/log
CARGO_OUT=${CARGO_TARGET_DIR:-$ROOT/target}/debug
NODES=2

# Kernel names are global, so their owner must be findable without any checkout: it may have been deleted.
STATE=/run/hyperpage-cluster
# Whoever chose kind need not say so again.
CLUSTER=${CLUSTER:-$(cat "$STATE/cluster" 2>/dev/null || echo host)}
# Somebody else's cluster takes no root and nothing of this machine.
[ "$CLUSTER" != current ] || STATE=$OUT/current
LOCK=$STATE.lock

THEIR_KUBECONFIG=${KUBECONFIG:-$HOME/.kube/config}   # for CLUSTER=current alone
# Never the user's own: an exported KUBECONFIG must not decide which cluster is changed.
export KUBECONFIG=$OUT/kubeconfig KUBECACHEDIR=$OUT/cache/kubectl
export HELM_CACHE_HOME=$OUT/cache/helm HELM_CONFIG_HOME=$OUT/cache/helm HELM_DATA_HOME=$OUT/cache/helm
unset HELM_NAMESPACE HELM_KUBECONTEXT HELM_KUBEAPISERVER HELM_KUBETOKEN HELM_DRIVER
PATH=$BIN:$PATH:/usr/sbin:/sbin

if [ -t 1 ]; then BOLD=$'\e[1m' RED=$'\e[31m' GREEN=$'\e[32m' YELLOW=$'\e[33m' PLAIN=$'\e[0m'
else BOLD='' RED='' GREEN='' YELLOW='' PLAIN=''; fi

say() { printf '%s\n' "$*"; }
warn() { printf '%s\n' "${YELLOW}$*${PLAIN}" >&2; }
die() { printf '%s\n' "${RED}$*${PLAIN}" >&2; exit "${STATUS:-1}"; }

now() { date +%s; }
clock() { printf '%d:%02d' $(($1 / 60)) $(($1 % 60)); }   # seconds as m:ss

# wait_for SECONDS COMMAND…: until it succeeds; its last words are the error.
wait_for() {
  local deadline=$(($(now) + $1)) out; shift
  until out=$("$@" 2>&1); do
    [ "$(now)" -lt "$deadline" ] || { say "gave up waiting for: $*"; say "$out"; return 1; } >&2
    sleep 0.2
  done
}

need_root() { [ "$(id -u)" = 0 ] || [ "$CLUSTER" = current ] || die "This needs root (network namespaces, mounts, cgroups): sudo make $1"; }

# One cluster per machine, and one hand on it. The file says who, because flock itself does not.
take_lock() {
  mkdir -p "${LOCK%/*}"
  exec 9>>"$LOCK"
  flock -n 9 || die "Another command is at work on this machine's cluster: $(cat "$LOCK"). Wait for it, or stop it with Ctrl-C."
  printf '%s of %s, pid %s, since %s\n' "$1" "$ROOT" $$ "$(date +%T)" >"$LOCK"
}

# What exists but is not this checkout's to touch silently.
owner() { cat "$STATE/owner" 2>/dev/null || true; }

case $CLUSTER in
  host | kind | current) # shellcheck source=/dev/null
    . "$RIG/lib/$CLUSTER.sh" ;;
  *) STATUS=64 die "CLUSTER=$CLUSTER is not known; there are host (the default), kind and current." ;;
esac
