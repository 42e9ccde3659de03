# shellcheck shell=bash
# CLUSTER=kind: every node a Docker container. Never chosen by itself; needs kind and docker on the PATH, and the node
# image from a registry. Written with care and not yet run: where it was written there is neither.

. "$RIG/lib/volumes.sh"

KIND=hyperpage
KIND_IMAGE=${KIND_IMAGE:-kindest/node:v1.34.0}
CLUSTER_BUILDS='sidecar kubernetes operator images'
CLUSTER_STEPS=2
# It brings its own pause and DNS.
CLUSTER_IMAGES='metrics-server redis operator sidecar demo'

cluster_needs() {
  local tool
  for tool in kind docker; do
    command -v "$tool" >/dev/null || die "CLUSTER=kind needs $tool on the PATH; https://kind.sigs.k8s.io says how to install it."
  done
  docker info >/dev/null 2>&1 || die "CLUSTER=kind needs a running Docker: docker info fails."
}

cluster_start() {
  step "kind: one control plane, $NODES workers" "40 s, the first time longer" kind_create
  step "images loaded, addons (metrics-server, local volumes)" "40 s" kind_addons
  echo up >"$STATE/state"
}

kind_create() {
  mkdir -p "$STATE"
  echo "$OUT" >"$STATE/owner"; echo kind >"$STATE/cluster"; echo starting >"$STATE/state"
  rm -f "$OUT"/audit*.log
  sed "s|RIG|$RIG|; s|OUT|$OUT|; s|IMAGE|$KIND_IMAGE|" "$RIG/kind.yaml" >"$STATE/kind.yaml"
  kind create cluster --name "$KIND" --config "$STATE/kind.yaml" --kubeconfig "$KUBECONFIG" --wait 120s
  kind_routes
}

# What CLUSTER=host has too: this machine reaches pods and services by their addresses.
kind_routes() {
  local node ip range
  kubectl get nodes -o jsonpath='{range .items[*]}{.metadata.name} {.status.addresses[?(@.type=="InternalIP")].address} {.spec.podCIDR}{"\n"}{end}' |
    while read -r node ip range; do
      ip route replace "$range" via "$ip"
      [ "$node" != "$KIND-control-plane" ] || ip route replace 10.96.0.0/16 via "$ip"
    done
}

kind_addons() {
  local name
  for name in $CLUSTER_IMAGES; do cluster_load "$IMG/$name.tar"; done
  wait_for 30 kubectl -n kube-system get serviceaccount default
  kubectl apply -f "$RIG/addons/storage.yaml"
  # The serving certificates of kind's kubelets are their own.
  sed 's|--kubelet-certificate-authority=.*ca.crt|--kubelet-insecure-tls|' "$RIG/addons/metrics-server.yaml" | kubectl apply -f -
  kubectl annotate storageclass standard storageclass.kubernetes.io/is-default-class-
  local i
  for i in $(seq "$NODES"); do
    docker exec "$(kind_node "$i")" bash -c 'mkdir -p /var/hyperpage/{1..8} && chmod 777 /var/hyperpage/*'
    local_volumes "$(kind_node "$i")" /var/hyperpage | kubectl apply -f -
  done
  kubectl -n kube-system wait --for=condition=Available deployment --all --timeout=120s
  wait_for 90 kubectl top nodes
}

kind_node() { if [ "$1" = 1 ]; then echo "$KIND-worker"; else echo "$KIND-worker$1"; fi; }

cluster_stop() {
  kind delete cluster --name "$KIND" --kubeconfig "$KUBECONFIG"   # the routes go with their gateways' network …
  ip route del 10.96.0.0/16 2>/dev/null || true                   # … but Docker keeps that
  ip route | awk '$1 ~ /^10\.244\./ {print $1}' | while read -r range; do ip route del "$range" 2>/dev/null || true; done
  rm -rf --one-file-system "$STATE" "$KUBECONFIG"
}

cluster_intact() {
  [ "$(owner)" = "$OUT" ] && [ "$(cat "$STATE/state" 2>/dev/null)" = up ] && kubectl get --raw /readyz >/dev/null 2>&1
}

cluster_load() { kind load image-archive --name "$KIND" "$1"; }

# As on the host: its processes stand still, nobody hears them.
cluster_node_stop() { docker pause "$(kind_node "$1")"; }
cluster_node_start() { docker unpause "$(kind_node "$1")"; }

cluster_recipe() { cat "$RIG/lib/kind.sh" "$RIG/lib/volumes.sh" "$RIG/kind.yaml" "$RIG"/addons/* "$RIG/audit-policy.yaml"; }
cluster_traces() { docker ps --all --filter "label=io.x-k8s.kind.cluster=$KIND" --format 'container {{.Names}}'; ip route | sed 's/^/route /'; }
