# shellcheck shell=bash
# The checks of doctor.sh. Each tries the real thing where that leaves nothing behind (in throwaway namespaces), and
# reports with `good`, `note` (goes on) or `bad` (would fail later).

PROBLEMS=0
good() { [ -n "$BRIEF" ] || say "${GREEN}ok${PLAIN}    $1"; }
note() { say "${YELLOW}note${PLAIN}  $1"; [ -z "${2:-}" ] || say "      fix: $2"; }
bad() { PROBLEMS=$((PROBLEMS + 1)); say "${RED}BAD${PLAIN}   $1"; say "      fix: $2"; }

verdict() {
  [ "$PROBLEMS" = 0 ] || { say "${RED}$PROBLEMS to fix before \`make up\` can work.${PLAIN}"; exit 1; }
  [ -n "$BRIEF" ] || say "${GREEN}\`make up\` can go on.${PLAIN}"
}

# program:package. A program that is on PATH is used, wherever it comes from.
PACKAGES='containerd:containerd ctr:containerd runc:runc iptables:iptables ipset:ipset conntrack:conntrack nft:nftables
  catatonit:catatonit mmdebstrap:mmdebstrap openssl:openssl ip:iproute2 nsenter:util-linux ps:procps sysctl:procps
  cc:gcc strip:binutils redis-server:redis-server redis-benchmark:redis-tools jq:jq curl:curl'

packages() {
  local pair missing='' install
  for pair in $PACKAGES; do command -v "${pair%%:*}" >/dev/null || missing+="${pair#*:} "; done
  [ -x /usr/lib/cni/bridge ] || missing+='containernetworking-plugins '
  [ -e /usr/include/stdio.h ] || missing+='libc6-dev '   # gcc only recommends it
  missing=$(tr ' ' '\n' <<<"$missing" | sort -u | xargs)
  [ -n "$missing" ] || { good 'Debian packages: nothing missing'; return 0; }
  install="apt-get install -y --no-install-recommends $missing"
  if ! command -v apt-get >/dev/null; then
    bad "programs of these Debian packages are missing: $missing" 'install them with the package manager of this machine'
  elif would_remove "$missing"; then
    bad "installing $missing would remove other packages" "look at it yourself: $install"
  elif [ -z "$FIX" ] || ! is_root; then
    note "Debian packages missing: $missing; \`make up\` installs them" "$install"
  elif ! install_packages "$missing"; then
    bad "installing $missing failed" "apt-get update; $install"
  else
    say "installed: $missing"
  fi
}

# shellcheck disable=SC2086  # a list of packages
would_remove() { apt-get -s install -y --no-install-recommends $1 2>/dev/null | grep -q '^Remv '; }
# shellcheck disable=SC2086
install_packages() {
  export DEBIAN_FRONTEND=noninteractive
  { apt-get install -y -q --no-install-recommends $1 || { apt-get update -q && ! would_remove "$1" &&
    apt-get install -y -q --no-install-recommends $1; }; } >&2
}

is_root() { [ "$(id -u)" = 0 ]; }

root_and_kernel() {
  if is_root; then good root; else bad 'not root; overlay mounts, cgroups and network were not tried' 'sudo make up'; fi
  case $(uname -m) in
    x86_64) good x86_64 ;;
    aarch64) note 'aarch64: written for, but only x86_64 has been tried' ;;
    *) bad "architecture $(uname -m)" 'use a machine with x86_64' ;;
  esac
  # The kubelet's sockets lie below the checkout, and a socket's name has room for 107 bytes.
  if [ ${#OUT} -le 60 ]; then good 'path length'; else bad "the path $ROOT is too long for Unix sockets" 'move the checkout, e.g. to /srv/hyperpage'; fi
  is_root || return 0
  local dir; dir=$(existing "$OUT")
  if unshare -m sh -c "d=\$(mktemp -d '$dir/.doctor-XXXXXX') && mkdir \$d/a \$d/b \$d/w \$d/m &&
      mount -t overlay overlay -o lowerdir=\$d/a,upperdir=\$d/b,workdir=\$d/w \$d/m; s=\$?; umount \$d/m; rm -rf \$d; exit \$s" 2>/dev/null
  then good 'overlay mounts'
  else bad "no overlay mount on $(stat -f -c %T "$dir") at $dir" 'modprobe overlay; in a container, put the checkout on a volume'; fi
}

existing() { local d=$1; until [ -d "$d" ]; do d=${d%/*}; done; echo "${d:-/}"; }

cgroups() {
  is_root || return 0
  local root=/sys/fs/cgroup missing='' c
  if [ -e $root/cgroup.controllers ]; then
    for c in cpu cpuset memory pids; do grep -qw $c $root/cgroup.controllers || missing+="$c "; done
    if [ -n "$missing" ]; then bad "cgroup v2 without $missing" "boot without cgroup_disable=; in a container: --privileged --cgroupns=host"
    elif [ -e $root/cgroup.type ] && [ -n "$(cat $root/cgroup.procs)" ]; then
      bad 'cgroup v2 of a container: its root holds processes, so it cannot be divided' 'start the container with --privileged --cgroupns=host'
    elif [ ! -w $root/cgroup.subtree_control ]; then bad 'cgroup v2 is read-only' 'mount -o remount,rw /sys/fs/cgroup; in a container: --privileged'
    else good 'cgroup v2'; fi
    return 0
  fi
  for c in cpu cpuacct cpuset memory devices freezer pids; do
    { [ -d $root/$c ] && [ -w $root/$c ]; } || missing+="$c "
  done
  if [ -n "$missing" ]; then bad "cgroup v1 without writable $missing" 'mount the hierarchies read-write below /sys/fs/cgroup; in a container: --privileged'
  else good 'cgroup v1'; fi
}

network() {
  local taken
  is_root || return 0
  if unshare -n sh -c 'ip link add b0 type bridge && ip link add v0 type veth peer name v1' 2>/dev/null; then good 'network namespaces, bridge, veth'
  else bad 'no network namespaces, bridges or veth pairs' 'modprobe bridge veth; in a container: --privileged'; fi
  if unshare -n sh -c 'iptables -t nat -A POSTROUTING -m comment --comment x -m mark --mark 1 -j MASQUERADE && ipset create x hash:ip &&
      iptables -A FORWARD -m set --match-set x src -m conntrack --ctstate NEW -j ACCEPT' 2>/dev/null; then good "$(iptables -V)"
  else bad 'iptables with nat, conntrack and ipset does not work' 'modprobe iptable_nat nf_conntrack ip_set_hash_ip xt_set; update-alternatives --config iptables'; fi
  if [ -d "$STATE" ]; then
    [ "$(owner)" = "$OUT" ] || note "the cluster of $(owner) is here; \`make up\` removes it (one per machine)"
    return 0   # the ports and addresses in use are the cluster's own
  fi
  taken=$(ss -Hltn 2>/dev/null | awk '{print $4}' | grep -E "^(\*|0\.0\.0\.0|\[::\]|127\.0\.0\.1):(${HOST_PORTS// /|})$" | xargs || true)
  if [ -z "$taken" ]; then good "ports $HOST_PORTS"; else bad "in use: $taken" "ss -ltnp '( sport = :${taken##*:} )' names the process; end it"; fi
  taken=$(ip route | grep -E '^(172\.30\.0|10\.244|10\.96)\.' || true)
  if [ -z "$taken" ]; then good 'addresses 172.30.0.0/24, 10.244.0.0/16, 10.96.0.0/16'
  else bad "addresses in use: $taken" "remove the network that holds them (docker network ls; ip route del ${taken%% *})"; fi
}

toolchains() {
  needs Go 1.26.4 "$(go version 2>/dev/null | grep -oE '[0-9]+\.[0-9]+(\.[0-9]+)?' | head -n 1 || true)" 'https://go.dev/dl: unpack to /usr/local/go and put /usr/local/go/bin on PATH'
  needs Rust 1.89 "$(rustc --version 2>/dev/null | cut -d' ' -f2 || true)" 'rustup update stable; without rustup: https://rustup.rs'
  command -v cargo >/dev/null || bad 'cargo is not on PATH' '. ~/.cargo/env'
  needs Node 20 "$(node --version 2>/dev/null | tr -d v || true)" 'https://nodejs.org, or: apt-get install -y nodejs where Debian has 20'
}

# needs NAME MINIMUM FOUND FIX
needs() {
  if [ -z "$3" ]; then bad "$1 is not on PATH (≥ $2 needed)" "$4"
  elif [ "$(printf '%s\n%s\n' "$2" "${3%%-*}" | sort -V | head -n 1)" != "$2" ]; then bad "$1 $3 is too old (≥ $2 needed)" "$4"
  else good "$1 $3"; fi
}

resources() {
  local disk memory want=15
  if have_tools; then want=4; fi
  disk=$(($(df -Pk "$(existing "$OUT")" | awk 'NR == 2 {print $4}') / 1048576))
  memory=$(($(awk '/^MemAvailable/ {print $2}' /proc/meminfo) / 1024))
  if [ "$disk" -ge $want ]; then good "$disk GiB of disk"; else bad "$disk GiB of disk free, $want needed" "free some: df -h $ROOT; go clean -cache; docker system prune"; fi
  if [ "$memory" -ge 4000 ]; then good "$memory MiB of memory"
  elif [ "$memory" -ge 2500 ]; then note "$memory MiB of memory free; 4000 are comfortable" 'end what you do not need: ps aux --sort=-rss | head'
  else bad "$memory MiB of memory free, 2500 needed" 'end what you do not need: ps aux --sort=-rss | head'; fi
}
