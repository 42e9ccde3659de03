#!/usr/bin/env bash
# `make bench`: the sidecar beside what a developer would use instead, in one run on one machine (read the ratios, not
# the figures), where apps keep sessions and where they talk to each other; a hundred sidecars; and the operator beside a
# naive one. Prints each target of the design beside its figure and judges nothing: exit 0 whatever comes out.
# BENCH=sidecar, coordination, fleet or operator runs one part.
#   sidecar:  ROUNDS=3  SECONDS_EACH=3  SESSIONS=1000  CONNECTIONS=16  RATES="1000 5000 20000"  MANY=100000
#             OUTAGES="1 5 30" (seconds)  DAPRD=/path/to/daprd (about 10 minutes in all)
#   coordination: ROUNDS=3  SECONDS_EACH=3  CONNECTIONS=16  RATE=1000 (about 3 minutes in all)
#   fleet:    PODS=100  REST=10 (seconds)  INVALIDATIONS=200  RATE=1000 (messages per second)  SECONDS_TOLD=60  KILLS=30
#   operator: HYPERPAGES="0 10 100 1000"  SECRETS=8211  SECRET_KB=36  REST=10 (seconds; about 15 minutes in all)
set -euo pipefail
cd "$(dirname "$0")/../.."

NODE=tests/benches/node

die() { echo "make bench: $*" >&2; exit 1; }
need() { command -v "$1" >/dev/null || die "$1 is not on the PATH; install it: $2"; }

main() {
  need cargo "https://rustup.rs"
  case ${BENCH:-all} in
    all)
      sidecar
      coordination
      fleet
      operator
      ;;
    sidecar | coordination | fleet | operator) "$BENCH" ;;
    *) die "no bench '$BENCH'; there are: sidecar, coordination, fleet, operator" ;;
  esac
}

operator() {
  echo "the operator: building (profile dist, and Kubernetes: minutes the first time)"
  [[ -n ${CLUSTER_BIN:-} ]] || { need go "https://go.dev/dl"; tests/cluster/build.sh; }
  cargo build --quiet --locked --profile dist --package operator --bin hyperpage-operator --example naive
  # What is not measured is built as the tests are.
  cargo build --quiet --locked --workspace --example operator_bench
  bin=$(realpath "${CARGO_TARGET_DIR:-target}")
  "$bin/debug/examples/operator_bench" "$bin/dist/hyperpage-operator" "$bin/dist/examples/naive"
}

# What the sidecar is compared with is built with it: another choice of programs would build all of it again.
beside() {
  need redis-server "apt-get install redis-server"
  echo "$1: building (profile dist: minutes the first time)"
  cargo build --quiet --locked --profile dist --package sidecar --bin hyperpage-sidecar \
    --example floor --example load --example peer
  cargo build --quiet --locked --workspace --example "$2"
  bin=$(realpath "${CARGO_TARGET_DIR:-target}")
}

node_peers() {
  need node "apt-get install nodejs (20 or newer)"
  need npm "apt-get install npm"
  if [[ ! -d $NODE/node_modules || $NODE/package-lock.json -nt $NODE/node_modules ]]; then
    npm ci --prefix "$NODE" --ignore-scripts --no-audit --no-fund --loglevel error >/dev/null
    touch "$NODE/node_modules"
  fi
}

sidecar() {
  need redis-benchmark "apt-get install redis-tools"
  node_peers
  beside "the sidecar" session_bench
  "$bin/debug/examples/session_bench" "$bin/dist"
}

coordination() {
  node_peers
  beside "the sidecar, where pods talk" coordination_bench
  "$bin/debug/examples/coordination_bench" "$bin/dist"
}

fleet() {
  beside "a fleet" fleet_bench
  "$bin/debug/examples/fleet_bench" "$bin/dist"
}

main
