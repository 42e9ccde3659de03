#!/usr/bin/env bash
# node.sh stop|start N: node N is lost (its processes go on, nobody hears them), and back.
set -euo pipefail
. "$(dirname "$0")/lib/common.sh"
need_root up
case "${1:-} ${2:-}" in
  "stop "[1-"$NODES"]) cluster_node_stop "$2" ;;
  "start "[1-"$NODES"]) cluster_node_start "$2" ;;
  *) STATUS=64 die "usage: node.sh stop|start N, N from 1 to $NODES" ;;
esac
