#!/usr/bin/env bash
# `make bench`: the sidecar beside what a developer would use instead, in one run on one machine (read the ratios, not
# the figures), a hundred sidecars, and the operator beside a naive one. Prints each target of the design beside its
# figure and judges nothing: exit 0 whatever comes out. BENCH=sidecar, fleet or operator runs one part.
#   sidecar:  ROUNDS=3  SECONDS_EACH=3  SESSIONS=1000  CONNECTIONS=16  RATES="1000 5000 20000"  MANY=100000
#             OUTAGES="1 5 30" (seconds)  DAPRD=/path/to/daprd (about 10 minutes in all)
#   fleet:    PODS=100  REST=10 (seconds)  KILLS=30
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
      fleet
      operator
      ;;
    sidecar | fleet | operator) "$BENCH" ;;
    *) die "no bench '$BENCH'; there are: sidecar, fleet, operator" ;;
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

sidecar() {
  need node "apt-get install nodejs (20 or newer)"
  need npm "apt-get install npm"
  need redis-server "apt-get install redis-server"
  need redis-benchmark "apt-get install redis-tools"
  echo "the sidecar: building (profile dist: minutes the first time)"
  cargo build --quiet --locked --profile dist --package sidecar --bin hyperpage-sidecar --example floor --example load
  cargo build --quiet --locked --workspace --example session_bench
  if [[ ! -d $NODE/node_modules || $NODE/package-lock.json -nt $NODE/node_modules ]]; then
    npm ci --prefix "$NODE" --ignore-scripts --no-audit --no-fund --loglevel error >/dev/null
    touch "$NODE/node_modules"
  fi
  bin=$(realpath "${CARGO_TARGET_DIR:-target}")
  "$bin/debug/examples/session_bench" "$bin/dist"
}

fleet() {
  need redis-server "apt-get install redis-server"
  echo "a fleet: building (profile dist: minutes the first time)"
  cargo build --quiet --locked --profile dist --package sidecar --bin hyperpage-sidecar
  cargo build --quiet --locked --workspace --example fleet_bench
  bin=$(realpath "${CARGO_TARGET_DIR:-target}")
  "$bin/debug/examples/fleet_bench" "$bin/dist/hyperpage-sidecar"
}

main
