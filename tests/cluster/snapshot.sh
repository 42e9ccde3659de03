#!/usr/bin/env bash
# All that a cluster could leave on a machine, one sorted line each, without numbers that change by themselves:
# equal before `make up` and after `make down`.
set -euo pipefail
. "$(dirname "$0")/lib/common.sh"

cluster_traces | sort -u
