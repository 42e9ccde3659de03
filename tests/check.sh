#!/usr/bin/env bash
# `make check`, the inner loop: what a compiler alone can tell. Needs only Rust; each step says how long it took.
set -euo pipefail
cd "$(dirname "$0")/.."

command -v cargo >/dev/null || { echo "make check: cargo is not on the PATH; install Rust from https://rustup.rs" >&2; exit 1; }
command -v cc >/dev/null || { echo "make check: cargo needs a linker; apt-get install gcc libc6-dev" >&2; exit 1; }

# step NAME COMMAND…: stops at the first that fails.
step() {
    local name=$1 from=$SECONDS
    shift
    printf '=== %s\n' "$name"
    if ! "$@"; then
        printf 'make check: %s failed after %d s; again with: %s\n' "$name" $((SECONDS - from)) "$*" >&2
        exit 1
    fi
    printf '    %d s\n' $((SECONDS - from))
}

step format  cargo fmt --all --check
step lints   cargo clippy --quiet --locked --workspace --all-targets -- -D warnings
step docs    env RUSTDOCFLAGS=-Dwarnings cargo doc --quiet --locked --workspace --no-deps --document-private-items
step unit    cargo test --quiet --locked --workspace --lib
# What runs the README's commands needs more than Rust, and is part of make test.
step tidy    cargo test --quiet --locked --workspace --test tidy -- --skip readme_dev --skip readme_demo --skip readme_kubeconfig
printf '=== total %d s\n' "$SECONDS"
