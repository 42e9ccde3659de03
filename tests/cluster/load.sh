#!/usr/bin/env bash
# load.sh IMAGE.tar…: put docker-archives on every node of the running cluster.
set -euo pipefail
. "$(dirname "$0")/lib/common.sh"
. "$RIG/lib/image.sh"
need_root up
[ $# -gt 0 ] || STATUS=64 die 'usage: load.sh IMAGE.tar…'
cluster_intact || die 'There is no whole cluster of this checkout: make up'
for archive in "$@"; do
  [ -r "$archive" ] || die "no such file: $archive"
  cluster_load "$archive"
done
