# shellcheck shell=bash
# One node: a network namespace, a cgroup, and in them containerd, kubelet, kube-proxy and kube-router.
# Sockets and containerd's state live under the short $STATE path: a socket's name has room for 107 bytes only.

host_nodes_start() {
  local i jobs=()
  for i in $(seq "$NODES"); do
    node_network "$i"
    node_cgroup "$(node_netns "$i")"
    user "$(node_name "$i")" "/O=system:nodes/CN=system:node:$(node_name "$i")" "DNS:$(node_name "$i"),IP:$(node_ip "$i")"
    node_containerd "$i"
  done
  services_via 1
  for i in $(seq "$NODES"); do node_start "$i" & jobs+=($!); done
  for i in "${jobs[@]}"; do wait "$i"; done
  kubectl wait --for=condition=Ready node --all --timeout=60s
}

node_start() {
  local image
  for image in "$IMG"/*.tar; do node_load "$1" "$image"; done
  node_kubelet "$1"
  wait_for 60 kubectl get node "$(node_name "$1")"
  node_agents "$1"
}

# The kubelet wants its cgroup root to exist, in every hierarchy (v1) or with its controllers enabled (v2). It weighs ten
# times what else runs here: pods of a node of its own would not starve while somebody compiles.
node_cgroup() {
  local root=/sys/fs/cgroup c h
  if [ -e $root/cgroup.controllers ]; then
    for c in cpu cpuset memory pids io hugetlb; do
      ! grep -qw "$c" $root/cgroup.controllers || grep -qw "$c" $root/cgroup.subtree_control ||
        { echo "+$c" >$root/cgroup.subtree_control; echo "$c" >>"$STATE/controllers"; }
    done
    mkdir -p "$root/$1"
    echo 1000 >"$root/$1/cpu.weight"
    return
  fi
  for h in $(cgroup_v1_mounts); do mkdir -p "$h/$1"; done
  echo 10240 >"$root/cpu/$1/cpu.shares"
  for c in cpuset.cpus cpuset.mems; do cat $root/cpuset/$c >"$root/cpuset/$1/$c"; done   # empty in a new cpuset
}

cgroup_v1_mounts() { awk '$3 == "cgroup" {print $2}' /proc/mounts; }

node_containerd() {
  local i=$1 state=$STATE/n$1 data=$RUN/n$1
  mkdir -p "$state/cni" "$data"
  cat >"$state/cni/10-pods.conflist" <<Y
{"cniVersion": "1.0.0", "name": "hyperpage-pods", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": false, "hairpinMode": true, "mtu": 1400,
   "ipam": {"type": "host-local", "dataDir": "$state/ipam", "ranges": [[{"subnet": "10.244.$i.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
Y
  # restrict_oom_score_adj: without CAP_SYS_RESOURCE runc dies with "can't get final child's PID from pipe: EOF".
  cat >"$state/containerd.toml" <<Y
version = 2
root = "$data/containerd"
state = "$state/containerd"
disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.internal.v1.opt"]
[grpc]
  address = "$state/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/pause:1"
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$state/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
      Root = "$state/runc"
Y
  daemon "n$i-containerd" nsenter --net="/run/netns/$(node_netns "$i")" containerd -c "$state/containerd.toml"
}

# node_load N IMAGE.tar: once per content. Unpacked at first use.
node_load() {
  local socket=$STATE/n$1/containerd.sock mark sum
  mark=$STATE/n$1/images/$(basename "$2")
  sum=$(image_digest "$2")
  [ "$(cat "$mark" 2>/dev/null)" != "$sum" ] || return 0
  wait_for 15 ctr -a "$socket" version
  ctr -a "$socket" -n k8s.io images import --no-unpack "$2"
  mkdir -p "${mark%/*}"; echo "$sum" >"$mark"
}

node_kubelet() {
  local i=$1 name data=$RUN/n$1 state=$STATE/n$1; name=$(node_name "$1")
  cat >"$state/kubelet.yaml" <<Y
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $PKI/ca.crt}}
authorization: {mode: Webhook}
tlsCertFile: $PKI/$name.crt
tlsPrivateKeyFile: $PKI/$name.key
containerRuntimeEndpoint: unix://$state/containerd.sock
cgroupDriver: cgroupfs
cgroupRoot: /$(node_netns "$i")
failCgroupV1: false
failSwapOn: false
clusterDNS: [$DNS]
clusterDomain: cluster.local
podLogsDir: $data/pod-logs
volumePluginDir: $data/volume-plugins
nodeStatusUpdateFrequency: 3s
imageGCHighThresholdPercent: 100
evictionHard: {memory.available: 200Mi, nodefs.available: 1%, imagefs.available: 1%}
Y
  daemon "n$i-kubelet" nsenter --net="/run/netns/$(node_netns "$i")" kubelet --config="$state/kubelet.yaml" \
    --kubeconfig="$PKI/$name.kubeconfig" --hostname-override="$name" --node-ip="$(node_ip "$i")" --root-dir="$data/kubelet"
}

# kube-proxy makes services work, kube-router does nothing but enforce NetworkPolicy.
node_agents() {
  local i=$1 name state=$STATE/n$1; name=$(node_name "$1")
  cat >"$state/proxy.yaml" <<Y
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
clientConnection: {kubeconfig: $PKI/kube-proxy.kubeconfig}
mode: iptables
hostnameOverride: $name
clusterCIDR: $PODS
conntrack: {maxPerCore: 0, min: 0}
Y
  daemon "n$i-kube-proxy" nsenter --net="/run/netns/$(node_netns "$i")" kube-proxy --config="$state/proxy.yaml"
  daemon "n$i-kube-router" nsenter --net="/run/netns/$(node_netns "$i")" kube-router --run-firewall=true --run-router=false \
    --run-service-proxy=false --run-loadbalancer=false --enable-cni=false --kubeconfig="$PKI/kube-router.kubeconfig" \
    --hostname-override="$name" --service-cluster-ip-range="$SERVICES"
}
