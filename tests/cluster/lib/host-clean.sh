# shellcheck shell=bash
# From anything an earlier `up` left, whole or half, of this checkout or another, to nothing.
# Found by pid files and by what the kernel knows (namespaces, cgroups), never by process names.

host_clean() {
  local data; data=$(owner)
  end_recorded
  end_in_cgroups
  end_in_namespaces
  remove_mounts "$STATE/" "${data:+$data/run/}"
  remove_network
  remove_cgroups
  close_forward
  restore_sysctls
  remove_files "$data"
}

end_recorded() {
  local file pids=()
  for file in "$PIDS"/*; do
    [ -e "$file" ] && pids+=("$(live_pid "$file" || true)")
  done
  # shellcheck disable=SC2068  # the empty ones are to vanish
  end_all ${pids[@]}
}

our_cgroups() { find /sys/fs/cgroup -maxdepth 2 -type d -name 'hyperpage-n[0-9]*' 2>/dev/null; }
our_namespaces() { ip netns list 2>/dev/null | awk '/^hyperpage-n[0-9]/ {print $1}'; }

# Pods. Again and again, because a process may fork while the list is read.
end_in_cgroups() {
  local pids
  for _ in $(seq 50); do
    pids=$(our_cgroups | while read -r c; do find "$c" -name cgroup.procs -exec cat {} + 2>/dev/null; done | sort -u)
    [ -n "$pids" ] || return 0
    # shellcheck disable=SC2086
    kill -9 $pids 2>/dev/null || true
    sleep 0.1
  done
  warn "processes that do not end: $pids"
}

# Shims, and whatever of a half-started node has no pid file.
end_in_namespaces() {
  local ns pids
  for ns in $(our_namespaces); do
    pids=$(ip netns pids "$ns")
    # shellcheck disable=SC2086
    end_all $pids
  done
}

# Deepest first. A lazy detach only where something still holds it.
remove_mounts() {
  local prefix mount
  for prefix in "$@"; do
    [ -n "$prefix" ] || continue
    mounts_under "$prefix" | sort -r | while read -r mount; do
      umount "$mount" 2>/dev/null || umount -l "$mount" 2>/dev/null || true
    done
  done
}
mounts_under() { awk -v p="$1" 'index($2, p) == 1 {print $2}' /proc/mounts; }

remove_network() {
  local ns
  ip route del "$SERVICES" 2>/dev/null || true
  for ns in $(our_namespaces); do
    ip link del "$ns" 2>/dev/null || true
    ip netns del "$ns"
  done
  ip link del "$BRIDGE" 2>/dev/null || true      # its routes go with it
}

# The kernel lets a cgroup go a moment after its last process.
remove_cgroups() {
  local c
  wait_for 10 no_cgroups
  [ ! -e "$STATE/controllers" ] || while read -r c; do
    echo "-$c" >/sys/fs/cgroup/cgroup.subtree_control 2>/dev/null || true
  done <"$STATE/controllers"
}
no_cgroups() {
  our_cgroups | while read -r c; do find "$c" -depth -type d -exec rmdir {} + 2>/dev/null; done
  [ -z "$(our_cgroups)" ]
}

remove_files() {
  local data=$1 prefix
  for prefix in "$STATE/" "${data:+$data/run/}"; do   # deleting through a mount would delete the machine's own files
    [ -z "$prefix" ] || [ -z "$(mounts_under "$prefix")" ] || die "still mounted, so nothing is deleted: $(mounts_under "$prefix")"
  done
  # Files that shims, the CNI library and the kubelet keep at places of their own.
  cat "$STATE"/n*/containerd/io.containerd.runtime.v2.task/k8s.io/*/address 2>/dev/null |
    sed 's|unix://|\n|g' | sort -u | xargs -r rm -f
  grep -ls "$STATE/" /var/lib/cni/results/* | xargs -r rm -f
  if [ -n "$data" ]; then
    find /var/log/containers -type l -lname "$data/run/*" -delete 2>/dev/null || true
    case $data in */target/cluster) rm -rf --one-file-system "$data/run" "$data/kubeconfig" ;; esac
  fi
  remove_shared
  rm -rf --one-file-system "$STATE"
}

# Directories of the whole machine that the tools make on first use, and iproute2's mount: gone again only if they
# were not there before us.
SHARED='/run/netns /run/containerd/fifo /run/containerd/s /run/containerd /var/lib/cni/results /var/lib/cni
  /var/log/containers /var/lib/kubelet/device-plugins /var/lib/kubelet'
note_shared() {
  local dir
  for dir in $SHARED; do [ -d "$dir" ] || echo "$dir"; done >"$STATE/new-directories"
  mountpoint -q /run/netns || touch "$STATE/netns-mounted"
}
remove_shared() {
  if [ -e "$STATE/netns-mounted" ] && [ -z "$(ls /run/netns 2>/dev/null)" ]; then umount /run/netns 2>/dev/null || true; fi
  [ -e "$STATE/new-directories" ] || return 0
  # The one socket that a kubelet puts where no setting reaches.
  ! grep -qx /var/lib/kubelet/device-plugins "$STATE/new-directories" || rm -f /var/lib/kubelet/device-plugins/kubelet.sock
  xargs -r rmdir 2>/dev/null <"$STATE/new-directories" || true
}
