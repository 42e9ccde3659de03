#!/usr/bin/env bash
# `make soak`: histories with fresh seeds for as long as asked, and what was available meanwhile.
# DURATION=90 seconds, 30m, 2h; MUTANTS=1: how many runs out of 50 each mutant takes, and which the model catches,
# MUTANTS="replays lease" only those whose names hold one of these words; FAMILY=cut: one kind of fault.
# NODES=1: instead, what takes a Kubernetes and a quarter of an hour: a leader's node lost, the bus key rotated, 25 pods.
set -euo pipefail
cd "$(dirname "$0")/../.."

main() {
    local seconds tests=(chaos_sessions chaos_pods) mutants
    if [[ -n ${NODES:-} ]]; then
        tests/cluster/up.sh
        cargo test --locked --workspace --test cluster -- --nocapture coordination::
        return
    fi
    seconds=$(in_seconds "${DURATION:-10m}") || exit 64
    mapfile -t mutants < <(mutants)
    if [[ -n ${MUTANTS:-} && ${#mutants[@]} == 0 ]]; then echo "soak: no mutant is called '$MUTANTS'" >&2; exit 64; fi
    tests+=("${mutants[@]}")
    command -v redis-server >/dev/null || { echo "soak: redis-server is not on the PATH; apt-get install redis-server" >&2; exit 1; }
    echo "soak: $seconds s; a run that fails leaves its history in target/test"
    DURATION=$seconds cargo test --locked --workspace --test chaos -- --test-threads="${TEST_THREADS:-6}" "${tests[@]}"
    if [[ ${MUTANTS:-} == 1 ]]; then models; fi
}

# What processes on one machine do not come to: clocks that step, a pause as short as a look.
models() {
    local out
    out=$(cargo test --locked --workspace --lib -- --nocapture an_election_without_one_of with_one_rule_less 2>&1) ||
        { echo "$out" >&2; return 1; }
    sed -nE 's/^(.*): (not L[^:]*|two leaders with seed .*)(: .*)?$/mutant in the model, \1: \2/p' <<<"$out"
}

# The names of the tests that are asked for.
mutants() {
    local word
    for word in ${MUTANTS:-}; do
        sed -n 's/^async fn \(mutant_[a-z0-9_]*\)().*/\1/p' tests/chaos/mutants.rs tests/chaos/agreement/mod.rs |
            if [[ $word == 1 ]]; then cat; else grep -- "$word" || true; fi
    done
}

in_seconds() {
    case $1 in
        *[!0-9smh]* | [smh]* | '') echo "soak: DURATION is seconds, or 30m, or 2h; not '$1'" >&2; return 1 ;;
        *h) echo $((${1%h} * 3600)) ;;
        *m) echo $((${1%m} * 60)) ;;
        *) echo "${1%s}" ;;
    esac
}

main
