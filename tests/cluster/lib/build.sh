# shellcheck shell=bash
# Binaries: Kubernetes and its companions from two Go modules, ours from the Cargo workspace.

KUBERNETES=v1.34.4
TOOLS='kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy kubectl etcd helm coredns kube-router metrics-server'

# Skipped when nothing it depends on has changed: asking Go itself takes 4 s.
build_kubernetes() {
  local key
  key=$(cat "$RIG"/{kube,metrics}/go.{mod,sum} "$RIG/lib/build.sh" <(go version) | sha256sum)
  [ "$(cat "$BIN/.key" 2>/dev/null)" != "$key" ] || ! have_tools || return 0
  mkdir -p "$BIN"
  local v=k8s.io/component-base/version minor=${KUBERNETES#v1.}
  (cd "$RIG/kube" && CGO_ENABLED=0 go build -trimpath -o "$BIN/" -ldflags \
    "-s -w -X $v.gitVersion=$KUBERNETES -X $v.gitMajor=1 -X $v.gitMinor=${minor%.*}" tool)
  mv "$BIN/server" "$BIN/etcd"   # what etcd's main package is called
  (cd "$RIG/metrics" && CGO_ENABLED=0 go build -trimpath -ldflags "-s -w" -o "$BIN/" tool)
  echo "$key" >"$BIN/.key"
}

have_tools() { local tool; for tool in $TOOLS; do [ -x "$BIN/$tool" ] || return 1; done; }

# build_rust PACKAGE: the profile and the features that tests use too, so that nothing is compiled twice.
build_rust() { (cd "$ROOT" && cargo build --workspace --bin "hyperpage-$1"); }
