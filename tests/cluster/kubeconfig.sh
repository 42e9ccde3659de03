#!/usr/bin/env bash
# One line to eval: eval "$(make -s kubeconfig)"
set -euo pipefail
. "$(dirname "$0")/lib/common.sh"
[ -e "$KUBECONFIG" ] || die 'There is no cluster of this checkout: make up'
printf 'export KUBECONFIG=%q\n' "$KUBECONFIG"
