#!/usr/bin/env bash
# `make bench`: the sidecar beside what a developer would use instead, in one run on one machine (read the ratios, not
# the figures), and the operator beside a naive one. Prints each target of the design beside its figure and judges
# nothing: exit 0 whatever comes out. BENCH=sidecar or BENCH=operator runs one half.
#   sidecar:  ROUNDS=3  SECONDS_EACH=4  SESSIONS=1000  CONNECTIONS=16
#   operator: HYPERPAGES="0 10 100 1000"  SECRETS=8211  SECRET_KB=36  REST=10 (seconds; about 15 minutes in all)
set -euo pipefail
cd "$(dirname "$0")/../.."

ROUNDS=${ROUNDS:-3} SECONDS_EACH=${SECONDS_EACH:-4} SESSIONS=${SESSIONS:-1000} CONNECTIONS=${CONNECTIONS:-16}
RATE=1000
NODE=tests/benches/node

die() { echo "make bench: $*" >&2; exit 1; }
need() { command -v "$1" >/dev/null || die "$1 is not on the PATH; install it: $2"; }

main() {
  need cargo "https://rustup.rs"
  case ${BENCH:-both} in
    both)
      sidecar
      operator
      ;;
    sidecar | operator) "$BENCH" ;;
    *) die "no bench '$BENCH'; there are: sidecar, operator" ;;
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
  build
  run=$(mktemp -d) children=()
  trap finish EXIT
  trap 'exit 130' INT TERM
  start
  describe
  measure
  table
  targets
  finish
  trap - EXIT INT TERM
}

build() {
  echo "the sidecar: building (profile dist: minutes the first time)"
  cargo build --quiet --locked --profile dist --package sidecar --bin hyperpage-sidecar --example floor --example load
  bin=${CARGO_TARGET_DIR:-target}/dist
  if [[ ! -d $NODE/node_modules || $NODE/package-lock.json -nt $NODE/node_modules ]]; then
    npm ci --prefix "$NODE" --ignore-scripts --no-audit --no-fund --loglevel error >/dev/null
    touch "$NODE/node_modules"
  fi
}

finish() {
  kill -TERM "${children[@]}" 2>/dev/null || true
  wait "${children[@]}" 2>/dev/null || true
  rm -rf "$run"
}

# spawn NAME COMMAND…: in the background, its words in $run/NAME.log, its pid in pid[NAME].
declare -A pid address
spawn() {
  local name=$1
  shift
  "$@" >"$run/$name.log" 2>&1 &
  pid[$name]=$! children+=($!)
}

# until_true WHAT COMMAND…: within 20 s.
until_true() {
  local what=$1 tries=0
  shift
  until "$@" >/dev/null 2>&1; do
    tries=$((tries + 1))
    [[ $tries -lt 200 ]] || { tail -n 5 "$run"/*.log >&2; die "$what did not come up"; }
    sleep 0.1
  done
}

free_port() { node -e 'const s = require("net").createServer().listen(0, "127.0.0.1", () => { console.log(s.address().port); s.close(); })'; }

start() {
  local port url
  port=$(free_port) url=redis://127.0.0.1:$port
  spawn redis redis-server --port "$port" --bind 127.0.0.1 --save '' --appendonly no --dir "$run"
  redis_port=$port
  until_true redis redis-cli -p "$port" ping

  spawn sidecar "$bin/hyperpage-sidecar" --listen 127.0.0.1:0 --admin-listen 127.0.0.1:0 --redis-url "$url"
  until_true sidecar grep '"listen"' "$run/sidecar.log"
  address[sidecar]=$(sed -nE '/"listen"/{s/.*"listen":"([^"]+)".*/\1/p;q;}' "$run/sidecar.log")
  until_true "the sidecar's Redis" node "$NODE/seed.js" "http://${address[sidecar]}" "$run/ids" 1
  node "$NODE/seed.js" "http://${address[sidecar]}" "$run/ids" "$SESSIONS"

  address[floor]=127.0.0.1:$(free_port)
  spawn floor "$bin/examples/floor" "${address[floor]}" "$url"
  address[ioredis]=127.0.0.1:$(free_port)
  spawn ioredis node "$NODE/bare.js" "${address[ioredis]#*:}" "$url"
  address[express]=127.0.0.1:$(free_port)
  spawn express node "$NODE/express.js" "${address[express]#*:}" "$url" "$run/cookies" "$SESSIONS"
  until_true express grep ready "$run/express.log"
  until_true ioredis grep ready "$run/ioredis.log"
  until_true floor bash -c "</dev/tcp/${address[floor]/://}"

  local body='{"uiState":{"dashboardLayout":"%N"}}'
  awk '{print "GET\t/v1/sessions/" $1 "\t"}' "$run/ids" >"$run/sidecar.get"
  awk '{print "GET\t/sessions/" $1 "\t"}' "$run/ids" | tee "$run/floor.get" >"$run/ioredis.get"
  awk '{print "GET\t/session\t\tCookie: " $1}' "$run/cookies" >"$run/express.get"
  awk -v b="$body" '{print "PATCH\t/v1/sessions/" $1 "\t" b "\tContent-Type: application/merge-patch+json"}' "$run/ids" >"$run/sidecar.patch"
  awk -v b="$body" '{print "PATCH\t/session\t" b "\tContent-Type: application/json\tCookie: " $1}' "$run/cookies" >"$run/express.patch"
}

describe() {
  local size
  size=$(redis-cli -p "$redis_port" strlen "hyperpage:session:$(head -n 1 "$run/ids")")
  echo "$(nproc) cores, $(sed -nE 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), Linux $(uname -r), load $(cut -d' ' -f1 /proc/loadavg) before"
  echo "$("$bin/hyperpage-sidecar" --version), $(redis-server --version | cut -d' ' -f3), node $(node --version)"
  echo "$SESSIONS sessions of $size bytes, $CONNECTIONS connections, the median of $ROUNDS rounds of $SECONDS_EACH s each, in turns"
}

# Closed loop (as fast as answers come) and paced, each server in turn, so that a noisy minute meets all of them.
measure() {
  local case name verb
  : >"$run/results"
  for _ in $(seq "$ROUNDS"); do
    for case in sidecar.get floor.get ioredis.get express.get sidecar.patch express.patch; do
      name=${case%.*} verb=${case#*.}
      one "$name" "$verb" fast
      one "$name" "$verb" paced --rate "$RATE"
    done
    redis-benchmark -p "$redis_port" -c "$CONNECTIONS" -n 100000 -q --csv GET "hyperpage:session:$(head -n 1 "$run/ids")" |
      tail -n 1 | awk -F'","' '{print "redis get fast rate=" $2}' >>"$run/results"
  done
}

one() { # NAME VERB MODE [ARGUMENT…]
  local name=$1 verb=$2 mode=$3
  shift 3
  printf '%s %s %s ' "$name" "$verb" "$mode" >>"$run/results"
  "$bin/examples/load" "${address[$name]}" "$run/$name.$verb" --connections "$CONNECTIONS" --seconds "$SECONDS_EACH" \
    --watch "${pid[$name]}" "$@" >>"$run/results"
}

# figure NAME VERB MODE METRIC: the median over the rounds.
figure() {
  sed -nE "s/^$1 $2 $3 (.* )?$4=([0-9.]+).*/\2/p" "$run/results" | sort -g | awk '{v[NR] = $1} END {print v[int((NR + 1) / 2)]}'
}

table() {
  local row name verb
  printf '\n%-30s %9s %8s %8s | at %d/s %7s %7s | %6s\n' '' 'per s' 'CPU µs' 'p99 ms' $RATE 'p50 ms' 'p99 ms' 'RSS MB'
  for row in 'get sidecar' 'get floor' 'get ioredis' 'get express' 'patch sidecar' 'patch express'; do
    read -r verb name <<<"$row"
    printf '%-30s %9s %8s %8s | %17s %7s | %6s\n' "${verb^^} $(label "$name")" \
      "$(figure "$name" "$verb" fast rate)" "$(figure "$name" "$verb" fast cpu)" "$(figure "$name" "$verb" fast p99)" \
      "$(figure "$name" "$verb" paced p50)" "$(figure "$name" "$verb" paced p99)" "$(figure "$name" "$verb" paced rss)"
  done
  printf '%-30s %9.0f\n' 'GET redis-benchmark' "$(figure redis get fast rate)"
  if grep -qE 'refused=[1-9]' "$run/results"; then
    echo "some requests were refused; these figures do not count:"
    grep -E 'refused=[1-9]' "$run/results"
  fi
}

label() {
  case $1 in
    sidecar) echo 'sidecar' ;;
    floor) echo 'floor (bare axum + redis)' ;;
    ioredis) echo 'bare Node + ioredis' ;;
    express) echo 'express-session' ;;
  esac
}

targets() {
  printf '\n%-52s %10s   %s\n' '' figure target
  ratio 'GET: requests per second, of the floor' 'sidecar get fast rate' 'floor get fast rate' '≥ 0.8×'
  ratio 'GET: CPU per request, of the floor' 'sidecar get fast cpu' 'floor get fast cpu' '≤ 1.3×'
  difference "GET at $RATE/s: p50, above the floor" 'sidecar get paced p50' 'floor get paced p50' '≤ 0.1 ms'
  difference "GET at $RATE/s: p99, above the floor" 'sidecar get paced p99' 'floor get paced p99' '≤ 0.5 ms'
  ratio 'GET: requests per second, of express-session' 'sidecar get fast rate' 'express get fast rate' '≥ 8×'
  ratio 'GET: requests per second, of bare Node + ioredis' 'sidecar get fast rate' 'ioredis get fast rate' '≥ 1.5×'
  ratio 'GET: requests per second, of redis-benchmark' 'sidecar get fast rate' 'redis get fast rate' 'none: no HTTP there'
  ratio 'PATCH: requests per second, of express-session' 'sidecar patch fast rate' 'express patch fast rate' 'none yet'
  value "PATCH at $RATE/s: p99" 'sidecar patch paced p99' ms '< 10 ms'
  value 'RSS, no local cache' 'sidecar patch paced rss' MB '≤ 10 MB'
}

# shellcheck disable=SC2086 # a figure is named by four words
ratio() { line "$1" "$(awk -v a="$(figure $2)" -v b="$(figure $3)" 'BEGIN {printf "%.2f×", a / b}')" "$4"; }
# shellcheck disable=SC2086
difference() { line "$1" "$(awk -v a="$(figure $2)" -v b="$(figure $3)" 'BEGIN {printf "%.3f ms", a - b}')" "$4"; }
# shellcheck disable=SC2086
value() { line "$1" "$(figure $2) $3" "$4"; }
line() { printf '%-52s %10s   %s\n' "$1" "$2" "$3"; }

main
