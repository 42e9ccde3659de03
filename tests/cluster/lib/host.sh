# shellcheck shell=bash
# CLUSTER=host: the control plane as plain processes, each node a network namespace with its own containerd, kubelet,
# kube-proxy and policy agent. Not real: the nodes share one kernel and one disk, and report the whole machine's capacity.

RUN=$OUT/run PKI=$OUT/run/pki
BRIDGE=hyperpage0 GATEWAY=172.30.0.1 SERVICES=10.96.0.0/16 DNS=10.96.0.10 PODS=10.244.0.0/16
API=https://$GATEWAY:6443 ETCD=http://127.0.0.1:23790 ETCD_PEER=http://127.0.0.1:23791
HOST_PORTS='6443 10257 10259 23790 23791'

for part in process volumes host-network host-pki host-control host-node host-clean host-traces; do
  # shellcheck source=/dev/null
  . "$RIG/lib/$part.sh"
done

CLUSTER_BUILDS='sidecar kubernetes operator images'
CLUSTER_IMAGES='pause coredns metrics-server redis operator sidecar demo'
CLUSTER_STEPS=3

node_name() { echo "n$1"; }
node_ip() { echo "172.30.0.1$1"; }
node_netns() { echo "hyperpage-n$1"; }   # also its cable and its cgroup

cluster_needs() { :; }   # doctor.sh has looked

cluster_start() {
  step "control plane (etcd, API server)" "7 s" host_control_start
  step "$NODES nodes (containerd, kubelet, kube-proxy, NetworkPolicy), images loaded" "15 s" host_nodes_start
  step "addons (DNS, metrics-server, local volumes)" "15 s" host_addons_start
  echo up >"$STATE/state"
}

cluster_stop() { host_clean; }

# Whole: this checkout's, finished, and every process it started still runs and answers.
cluster_intact() {
  [ "$(owner)" = "$OUT" ] && [ "$(cat "$STATE/state" 2>/dev/null)" = up ] || return 1
  local file
  for file in "$PIDS"/*; do live_pid "$file" >/dev/null || return 1; done
  kubectl get --raw /readyz >/dev/null 2>&1
}

cluster_recipe() { cat "$RIG"/lib/host*.sh "$RIG/lib/volumes.sh" "$RIG"/addons/* "$RIG/audit-policy.yaml" "$RIG"/{kube,metrics}/go.mod; }

cluster_load() {
  local i jobs=()
  for i in $(seq "$NODES"); do node_load "$i" "$1" & jobs+=($!); done
  for i in "${jobs[@]}"; do wait "$i"; done
}

# A lost node: its processes go on, nobody hears them.
cluster_node_stop() {
  ip link set "$(node_netns "$1")" down
  services_via "$(other_node "$1")"   # or the host would lose every ClusterIP with the node
}

cluster_node_start() {
  ip link set "$(node_netns "$1")" up
  node_routes "$1"                    # the kernel drops routes through a link that went down
  services_via 1
}

other_node() { echo $(($1 % NODES + 1)); }
