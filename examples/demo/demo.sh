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

say "building the sidecar (minutes the first time, then a second)"
building=''
trap '[ -z "$building" ] || kill "$building" 2>/dev/null; say; say "stopping"; exit 0' INT TERM HUP
cargo build --quiet --workspace --bin hyperpage-sidecar & building=$!
wait "$building" || die "the sidecar does not build; see above"

exec node examples/demo/control.js "${CARGO_TARGET_DIR:-target}/debug/hyperpage-sidecar"
