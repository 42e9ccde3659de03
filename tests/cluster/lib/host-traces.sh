# shellcheck shell=bash
# Whatever a cluster of CLUSTER=host could leave on the machine: processes, mounts, namespaces, cgroups, firewall rules, files.

cluster_traces() {
  our_processes
  awk '{print "mount", $2, $3}' /proc/mounts
  find /run/netns -mindepth 1 -printf 'namespace %f\n' 2>/dev/null || true
  find /sys/fs/cgroup -mindepth 1 -maxdepth 2 -type d -printf 'cgroup %p\n'
  our_cgroups | while read -r c; do find "$c" -type d -printf 'cgroup %p\n'; done
  for tables in iptables-save ip6tables-save iptables-legacy-save; do
    $tables 2>/dev/null | grep -v '^#' | sed "s/\[[0-9:]*\]//; s/^/$tables /" || true
  done
  nft list ruleset 2>/dev/null | sed 's/packets [0-9]* bytes [0-9]*//; s/^/nft /' || true
  ip -o link | sed 's/^[0-9]*: //; s/@.*//; s/:.*//; s/^/link /'
  ip -o addr show scope global | awk '{print "address", $2, $4}'
  ip route show table all | grep -v '^ff00\|^fe80\|linkdown' | sed 's/^/route /'
  ip rule | sed 's/^/rule /'
  ipset list -n 2>/dev/null | sed 's/^/ipset /' || true
  for s in $SYSCTLS; do sysctl -e "$s"; done
  find /run/containerd /var/lib/cni /var/lib/kubelet /var/log/containers -maxdepth 2 2>/dev/null | sed 's/^/file /' || true
}

# By executable and arguments: tests run API servers of their own from the same binaries.
our_processes() {
  local dir exe
  for dir in /proc/[0-9]*; do
    exe=$(readlink "$dir/exe" 2>/dev/null) || continue
    if grep -q '/hyperpage-n[0-9]' "$dir/cgroup" 2>/dev/null || {
      [[ $exe == */target/cluster/bin/* || $exe == */containerd* ]] &&
        tr '\0' ' ' 2>/dev/null <"$dir/cmdline" | grep -qE "$STATE/|/target/cluster/run/"
    }; then echo "process ${exe##*/}"; fi
  done
  our_namespaces | while read -r dir; do ip netns pids "$dir" | sed 's/.*/process in namespace/'; done
}
