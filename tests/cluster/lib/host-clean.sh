# shellcheck shell=bash
# From anything an earlier `up` left, whole or half, of this checkout or another, to nothing.
# Found by pid files and by what the kernel knows (namespaces, cgroups), never by process names.

# One part that fails stops no other: the next `down` would meet the same.
host_clean() {
  local part failed=''
  THEIRS=$(owner)   # target/cluster of the checkout that made it
  for part in end_recorded end_in_cgroups end_in_namespaces remove_mounts remove_network remove_cgroups close_forward \
    restore_sysctls remove_files; do
    "$part" || failed+=" $part"
  done
  [ -z "$failed" ] || { warn "not everything could be removed:$failed"; return 1; }
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
  local mount
  our_mounts | sort -r | while read -r mount; do umount "$mount" 2>/dev/null || umount -l "$mount" 2>/dev/null || true; done
}
our_mounts() {
  awk -v state="$STATE/" -v data="${THEIRS:-/nowhere}/run/" 'index($2, state) == 1 || index($2, data) == 1 {print $2}' /proc/mounts
}

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
  wait_for 10 no_cgroups || return 1
  [ ! -e "$STATE/controllers" ] || while read -r c; do
    echo "-$c" >/sys/fs/cgroup/cgroup.subtree_control 2>/dev/null || true
  done <"$STATE/controllers"
}
no_cgroups() {
  our_cgroups | while read -r c; do find "$c" -depth -type d -exec rmdir {} + 2>/dev/null; done
  [ -z "$(our_cgroups)" ]
}

remove_files() {
  # Deleting through a mount would delete the machine's own files.
  [ -z "$(our_mounts)" ] || { warn "still mounted: $(our_mounts)"; return 1; }
  # What shims and the CNI library keep at places of their own.
  find "$STATE"/n*/containerd/io.containerd.runtime.v2.task -name address -exec cat {} + 2>/dev/null |
    sed 's|unix://|\n|g' | sort -u | xargs -r rm -f
  grep -ls "$STATE/" /var/lib/cni/results/* | xargs -r rm -f
  case $THEIRS in
    */target/cluster)
      find /var/log/containers -type l -lname "$THEIRS/run/*" -delete 2>/dev/null
      rm -rf --one-file-system "$THEIRS/run" "$THEIRS/kubeconfig" ;;
  esac
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
