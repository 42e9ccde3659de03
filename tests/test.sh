#!/usr/bin/env bash
# Everything that can be tested, level by level; LEVEL=unit|sidecar|operator|cluster|chaos runs one.
# What `make up` built and runs is reused; what is not there is brought up, and taken down again.
set -euo pipefail
cd "$(dirname "$0")/.."

LEVELS=(unit sidecar chaos operator cluster)
declare -A USUAL=([build]=12 [unit]=2 [sidecar]=4 [chaos]=3 [operator]=4 [cluster]=12)
OUT=target/test
PASSED=0 FAILED=0 ROWS=()
ONLY=()   # names of tests; none is all
started=$SECONDS
# An error that is looked at ten times a second is not to be looked up in the debug information each time.
export RUST_BACKTRACE=0

main() {
    local wanted=(${LEVEL:-${LEVELS[@]}}) level
    for level in "${wanted[@]}"; do
        [[ -v USUAL[$level] && $level != build ]] || { echo "test: no level '$level'; there are: ${LEVELS[*]}" >&2; exit 64; }
    done
    mkdir -p "$OUT"
    echo "test: ${wanted[*]}; about $(expected "${wanted[@]}") minutes when built, $((USUAL[build] * 2)) more from nothing"
    prerequisites " ${wanted[*]} "
    step build build " ${wanted[*]} "
    for level in "${wanted[@]}"; do step "$level" "level_$level"; done
    report
}

# Kubernetes needs a whole machine; the other levels need a few programs.
prerequisites() {
    if kubernetes "$1"; then
        tests/cluster/doctor.sh --fix --tests >"$OUT/doctor.log" 2>&1 || { cat "$OUT/doctor.log" >&2; exit 1; }
        return
    fi
    local pair missing=""
    for pair in cargo:cargo cc:gcc redis-server:redis-server redis-benchmark:redis-tools node:nodejs curl:curl chromium:chromium; do
        command -v "${pair%%:*}" >/dev/null || missing+=" ${pair#*:}"
    done
    [[ -z $missing ]] || { echo "test: not on the PATH, by the names of Debian's packages:$missing" >&2; exit 1; }
}

kubernetes() { [[ $1 == *" operator "* || $1 == *" cluster "* ]]; }

expected() {
    local sum=0 level
    for level in "$@"; do sum=$((sum + USUAL[$level])); done
    echo "$sum"
}

# step NAME COMMAND…: its output to the terminal and a log, its tests counted from that log.
step() {
    local name=$1 from=$SECONDS rc=0
    shift
    echo "=== $name (usually ${USUAL[$name]} min)"
    ("$@") 2>&1 | tee "$OUT/$name.log" || rc=$?
    local passed failed
    passed=$(count passed "$OUT/$name.log") failed=$(count failed "$OUT/$name.log")
    failed=$((failed - $(sed -nE 's/^test: the machine stood still; once more: ([0-9]+) .*/\1/p' "$OUT/$name.log" | awk '{n += $1} END {print n + 0}')))
    if [[ $name != build && $rc == 0 && $passed == 0 ]]; then echo "test: $name ran no test" >&2; rc=1; fi
    if grep -q '^skipped: ' "$OUT/$name.log"; then
        grep '^skipped: ' "$OUT/$name.log" >&2
        if [[ -n ${CI:-} ]]; then rc=1; fi
    fi
    if [[ $rc != 0 && $failed == 0 ]]; then failed=1; fi
    PASSED=$((PASSED + passed)) FAILED=$((FAILED + failed))
    ROWS+=("$(printf '%-9s %4d passed  %3d failed  %4d s' "$name" "$passed" "$failed" $((SECONDS - from)))")
    if [[ $name == build && $rc != 0 ]]; then report; fi
}

count() { sed -nE "s/^test result: .* ([0-9]+) $1;.*/\1/p" "$2" | awk '{n += $1} END {print n + 0}'; }

report() {
    printf '=== %s\n' "total $((SECONDS - started)) s"
    printf '%s\n' "${ROWS[@]}"
    if [[ $FAILED != 0 ]]; then echo "test: the logs are in $OUT; LEVEL=… runs one level again"; fi
    echo "$PASSED passed, $FAILED failed"
    [[ $FAILED == 0 ]] || exit 1
    exit 0
}

build() {
    if kubernetes "$1"; then tests/cluster/build.sh || return 1; fi
    cargo build --locked --workspace --all-targets
}

# Always the whole workspace: another choice of packages is another choice of features, and compiles kube again.
tests() { cargo test --locked --workspace --no-fail-fast "$@"; }

# What failed soon after the machine had stood still is run once more, where nothing else failed.
cargo_test() {
    local rc=0 log=$OUT/first.log failed
    tests "$@" -- --test-threads="${TEST_THREADS:-6}" "${ONLY[@]}" 2>&1 | tee "$log" || rc=$?
    [[ $rc != 0 ]] || return 0
    failed=$(sed -nE 's/^test (\S+) \.\.\. FAILED$/\1/p' "$log" | sort -u)
    [[ -n $failed && $failed == "$(stood_still "$log" | grep -xF "$failed")" ]] || return $rc
    echo "test: the machine stood still; once more: $(wc -l <<<"$failed") of the tests"
    mapfile -t failed <<<"$failed"
    tests "$@" -- --test-threads=2 --exact "${failed[@]}" 2>&1
}

# The names of tests, as tests/support/lived.rs says them.
stood_still() { sed -nE 's/^standstill: (\S+) failed soon after .*/\1/p' "$1" | sort -u; }

level_unit() { cargo_test --lib --test tidy; }
level_sidecar() { cargo_test --test sidecar; }
level_chaos() { cargo_test --test chaos; }
level_operator() { cargo_test --test operator; }

# These tests take turns by themselves; one that waits for its own keeps no other from going first.
cluster_test() {
    # Longer than this level may take: `NODES=1 make soak`.
    ONLY+=(--skip coordination::)
    TEST_THREADS=${TEST_THREADS:-32} cargo_test --test cluster
}

level_cluster() {
    local mine="" rc=0
    if ! tests/cluster/status.sh >/dev/null 2>&1; then
        mine=yes
        tests/cluster/down.sh || return 1
        tests/cluster/snapshot.sh >"$OUT/before" || return 1
    else
        echo "the cluster was up already and stays: what make down leaves is not looked at"
    fi
    tests/cluster/up.sh || return 1
    if [[ ${CLUSTER:-} == current ]]; then elsewhere || rc=$?; else cluster_test || rc=$?; fi
    if [[ -n $mine ]]; then
        tests/cluster/down.sh || rc=1
        tests/cluster/snapshot.sh >"$OUT/after" || rc=1
        down_leaves_nothing || rc=1
    fi
    return $rc
}

# In somebody else's cluster: what asks nothing but its API.
elsewhere() {
    echo "not run there: tests that stop nodes, restart the operator, look at processes, or reach pods by their addresses"
    DEMO_IMAGE=${REGISTRY%/}/hyperpage-demo:$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml)
    export DEMO_IMAGE
    ONLY=(bad:: every_example)
    cluster_test
}

# Printed as a test of its own, so that it counts.
down_leaves_nothing() {
    local left
    left=$(diff "$OUT/before" "$OUT/after") && { verdict ok 1 0; return 0; }
    printf 'down left, or took away:\n%s\n' "$left"
    verdict FAILED 0 1
    return 1
}
verdict() { printf 'test down_leaves_nothing ... %s\n\ntest result: %s. %d passed; %d failed;\n' "$1" "$1" "$2" "$3"; }

main
