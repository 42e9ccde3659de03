#!/usr/bin/env bash
# What runs, and where. Exit 0: this checkout's cluster is up and whole.
set -euo pipefail
. "$(dirname "$0")/lib/common.sh"
. "$RIG/lib/deploy.sh"
if [ ! -d "$STATE" ]; then say 'No cluster on this machine. Next: make up'; exit 1; fi
say "Cluster of $(owner), $(cat "$STATE/state" 2>/dev/null || echo unfinished), since $(stat -c %y "$STATE/owner" | cut -d. -f1)"
for file in "$STATE"/pid/*; do
  [ -e "$file" ] || continue   # nodes that are containers have none
  pid=$(live_pid "$file") || { say "  ${RED}gone${PLAIN}  ${file##*/}; its log: $LOG/${file##*/}.log"; continue; }
  say "  $(printf '%7s' "$pid")  ${file##*/}, $(($(awk '/^VmRSS/ {print $2}' "/proc/$pid/status") / 1024)) MiB"
done
cluster_intact || { say "Not whole, or not of this checkout. Next: make up (anew) or make down"; exit 1; }
kubectl get nodes
kubectl get hyperpages --all-namespaces 2>/dev/null || true
address=$(demo_address) && say "The demo: $address"
say "The API: export KUBECONFIG=$KUBECONFIG; every call to it: $OUT/audit.log"
