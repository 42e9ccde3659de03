#!/usr/bin/env bash
# `make demo`: one private Redis, three sidecars and three apps as plain processes behind one address.
# No containers, no Kubernetes. Ctrl-C (or TERM) ends every process and removes every file.
#   DEMO_PORT  the address' port, default 8080; 0 takes a free one
set -euo pipefail
cd "$(dirname "$0")/../.."

say() { printf '%s\n' "$*"; }
die() { say "make demo: $*" >&2; exit 1; }
need() { command -v "$1" >/dev/null || die "$1 is not on the PATH; install it: $2"; }

need node "apt-get install nodejs, or https://nodejs.org (20 or newer)"
need redis-server "apt-get install redis-server, or brew install redis"
need cargo "https://rustup.rs (Rust 1.89 or newer)"
[ "$(node -p 'process.versions.node.split(".")[0]')" -ge 20 ] || die "node $(node -v) is too old; 20 or newer is needed"

run=$(mktemp -d "${TMPDIR:-/tmp}/hyperpage-demo.XXXXXX")
building='' front='' apps='' sidecars='' redis=''

# Ends the given processes and waits for them, by force after ten seconds.
end() {
  [ $# -gt 0 ] || return 0
  kill -TERM "$@" 2>/dev/null || true
  local waited=0
  while kill -0 "$@" 2>/dev/null && [ $waited -lt 100 ]; do sleep 0.1; waited=$((waited + 1)); done
  kill -KILL "$@" 2>/dev/null || true
  wait "$@" 2>/dev/null || true
}

# Requests first, then those who serve them, then the data: the order in which a pod stops.
finish() {
  trap '' INT TERM HUP
  for group in "$building" "$front" "$apps" "$sidecars" "$redis"; do
    # shellcheck disable=SC2086 # one word per process
    end $group
  done
  rm -rf "$run"
}
trap finish EXIT
trap 'say; say "stopping"; exit 0' INT TERM HUP

# Waits until the log FILE holds the JSON field NAME, and prints its value. PID is who writes it.
field() { # FILE NAME PID
  local waited=0 value
  while [ $waited -lt 200 ]; do
    value=$(sed -nE "/\"$2\":/{s/.*\"$2\":\"?([^\",}]+)\"?.*/\1/p;q;}" "$1" 2>/dev/null || true)
    [ -n "$value" ] && { say "$value"; return; }
    kill -0 "$3" 2>/dev/null || break
    sleep 0.05; waited=$((waited + 1))
  done
  say "--- $1" >&2; tail -n 5 "$1" >&2
  die "a process did not start (its last words are above)"
}

say "building the sidecar (minutes the first time, then a second)"
cargo build --quiet --workspace --bin hyperpage-sidecar & building=$!
wait "$building" || die "the sidecar does not build; see above"
building=''
sidecar=${CARGO_TARGET_DIR:-target}/debug/hyperpage-sidecar

redis_port=$(node -e 'const s = require("net").createServer().listen(0, "127.0.0.1", () => { console.log(s.address().port); s.close(); })')
redis-server --port "$redis_port" --bind 127.0.0.1 --save '' --appendonly no --dir "$run" --maxmemory-policy noeviction \
  >"$run/redis.log" 2>&1 & redis=$!

app_ports='' table=''
for n in 1 2 3; do
  log=$run/sidecar-$n.log
  "$sidecar" --listen 127.0.0.1:0 --admin-listen 127.0.0.1:0 --pod-name "app-$n" \
    --redis-url "redis://127.0.0.1:$redis_port" >"$log" 2>&1 & sidecar_pid=$!
  sidecars="$sidecars $sidecar_pid"
  address=$(field "$log" listen "$sidecar_pid")

  log=$run/app-$n.log
  HOST=127.0.0.1 PORT=0 POD_NAME="app-$n" HYPERPAGE_URL="http://$address" node examples/demo/server.js >"$log" 2>&1 & app_pid=$!
  apps="$apps $app_pid"
  port=$(field "$log" port "$app_pid")
  app_ports="$app_ports $port"
  table="$table  app-$n  http://127.0.0.1:$port  process $app_pid, its sidecar http://$address process $sidecar_pid"$'\n'
done

# shellcheck disable=SC2086 # one word per port
node examples/demo/front.js "${DEMO_PORT:-8080}" $app_ports >"$run/front.log" 2>&1 & front=$!
port=$(field "$run/front.log" port "$front")

say
say "The demo:  http://127.0.0.1:$port"
say
printf '%s' "$table"
say "  redis  127.0.0.1:$redis_port  process $redis"
say
say "Next: open the demo, reload it a few times, then end one app (kill ${apps##* }): the count goes on."
say "Ctrl-C stops everything and leaves nothing."

wait "$front" || die "the front door ended; its last words: $(tail -n 1 "$run/front.log")"
