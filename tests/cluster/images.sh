#!/usr/bin/env bash
# images.sh [NAME…]: container images as docker-archives in target/cluster/img, only those whose inputs changed.
# With REGISTRY=… [PUSH=1] the Dockerfile's, by docker, podman or buildah, under names of that registry.
set -euo pipefail
. "$(dirname "$0")/lib/common.sh"
. "$RIG/lib/image.sh"
. "$RIG/lib/image-recipes.sh"
. "$RIG/lib/build.sh"

if [ -n "${REGISTRY:-}" ]; then
  . "$RIG/lib/registry.sh"
  registry_images "$REGISTRY" "$@"
  exit
fi

need_root images   # redis comes from a Debian tree, which only root can unpack as it is
read -ra names <<<"${*:-$CLUSTER_IMAGES}"
for name in "${names[@]}"; do
  [ -n "${REF[$name]:-}" ] || die "no image is called $name; there are: ${!REF[*]}"
done
for name in "${names[@]}"; do
  case $name in
    coredns | metrics-server) build_kubernetes ;;
    operator | sidecar) build_rust "$name" ;;
  esac
  image_build "$name"
done
for name in "${names[@]}"; do say "${REF[$name]}  $IMG/$name.tar"; done
