#!/usr/bin/env bash
# The Kubernetes binaries alone, into target/cluster/bin: what tests against a bare API server need.
set -euo pipefail
. "$(dirname "$0")/lib/common.sh"
. "$RIG/lib/build.sh"
build_kubernetes
