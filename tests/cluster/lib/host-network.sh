# shellcheck shell=bash
# The machine's side of the network: one bridge that carries the nodes, and routes to pods and services.

network_start() {
  ip link add "$BRIDGE" type bridge
  ip addr add "$GATEWAY/24" dev "$BRIDGE"
  ip link set "$BRIDGE" up
  save_sysctls
  sysctl -qw net.ipv4.ip_forward=1
  if forward_is_closed; then open_forward; fi
}

# What we or the kubelet change for the whole machine, put back by host_clean.
SYSCTLS='net.ipv4.ip_forward vm.overcommit_memory vm.panic_on_oom kernel.panic kernel.panic_on_oops
  kernel.keys.root_maxkeys kernel.keys.root_maxbytes'
save_sysctls() { local s; for s in $SYSCTLS; do sysctl -e "$s"; done | tr -d ' ' >"$STATE/sysctls"; }
restore_sysctls() { [ ! -e "$STATE/sysctls" ] || sysctl -q -p "$STATE/sysctls" >/dev/null; }

# Docker and some firewalls drop what is forwarded. Looking first matters: even `iptables -C` makes a table that stays.
forward_is_closed() { iptables-save -t filter 2>/dev/null | grep -qE '^:FORWARD DROP|^-A FORWARD .*(DROP|REJECT)'; }
open_forward() { local d; for d in -i -o; do iptables -I FORWARD "$d" "$BRIDGE" -j ACCEPT; done; touch "$STATE/forward-opened"; }
close_forward() {
  local d
  [ -e "$STATE/forward-opened" ] || return 0
  for d in -i -o; do iptables -D FORWARD "$d" "$BRIDGE" -j ACCEPT 2>/dev/null || true; done
}

# Node N's namespace and its cable into the bridge. `nsenter --net`, never `ip netns exec`: that remounts /sys and
# hides the cgroups.
node_network() {
  local ns; ns=$(node_netns "$1")
  ip netns add "$ns"
  ip link add "$ns" type veth peer name eth0 netns "$ns"
  ip link set "$ns" master "$BRIDGE" up
  in_node "$1" ip link set lo up
  in_node "$1" ip addr add "$(node_ip "$1")/24" dev eth0
  in_node "$1" ip link set eth0 up
  in_node "$1" ip route add default via "$GATEWAY"
  in_node "$1" sysctl -qw net.ipv4.ip_forward=1
  node_routes "$1"
}

in_node() { local ns; ns=$(node_netns "$1"); shift; nsenter --net="/run/netns/$ns" "$@"; }

# By the host, and so for every other node too: it is their default gateway.
node_routes() { ip route replace "10.244.$1.0/24" via "$(node_ip "$1")"; }

# The host reaches ClusterIPs through the rules of one node's kube-proxy, which masquerades what is not a pod's.
services_via() { ip route replace "$SERVICES" via "$(node_ip "$1")"; }
