#!/usr/bin/env bash
# Remove all that `make up` made on this machine, also half of it, also another checkout's. Binaries and images stay.
set -euo pipefail
. "$(dirname "$0")/lib/common.sh"
. "$RIG/lib/deploy.sh"
need_root down
[ "$CLUSTER" != current ] || cluster_needs down
take_lock 'make down'
began=$(date +%s%N)
[ -d "$STATE" ] && [ "$(owner)" != "$OUT" ] && say "This is the cluster of $(owner)."
cluster_stop || die 'Something is left; run it again, and if that does not help look at the lines above.'
rm -f "$LOCK"
say "Nothing of our cluster is left ($((($(date +%s%N) - began) / 1000000)) ms). Binaries, images and logs stay in target/cluster."
