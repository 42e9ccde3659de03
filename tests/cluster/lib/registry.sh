# shellcheck shell=bash
# Images for a cluster that is not on this machine, from the Dockerfile, by a container tool.

CONTAINER_TOOLS='docker podman buildah'

# The first that works: a docker whose daemon does not answer is none.
container_tool() {
  local tool
  for tool in $CONTAINER_TOOLS; do
    if command -v "$tool" >/dev/null && "$tool" info >/dev/null 2>&1; then echo "$tool"; return; fi
  done
  return 1
}

version() { sed -n 's/^version = "\(.*\)"$/\1/p' "$ROOT/Cargo.toml"; }
commit() { git -C "$ROOT" rev-parse --short=12 HEAD 2>/dev/null || true; }

# registry_images REGISTRY [NAME…]
registry_images() {
  local registry=${1%/} tool name ref; shift
  [ $# -gt 0 ] || set -- operator sidecar demo
  for name in "$@"; do
    grep -qE "^FROM .* AS $name\$" "$ROOT/Dockerfile" || STATUS=64 die "no image of the Dockerfile is called $name; there are: operator sidecar demo"
  done
  tool=$(container_tool) || die "none of $CONTAINER_TOOLS is on the PATH and answers to \`info\`: install one, or start its daemon."
  for name in "$@"; do
    ref=$registry/hyperpage-$name:$(version)
    "$tool" build --file "$ROOT/Dockerfile" --target "$name" --build-arg "HYPERPAGE_COMMIT=$(commit)" --tag "$ref" "$ROOT"
    [ -z "${PUSH:-}" ] || "$tool" push "$ref"
    say "$ref"
  done
  [ -n "${PUSH:-}" ] || say "Built here and not pushed; PUSH=1 does both."
}
