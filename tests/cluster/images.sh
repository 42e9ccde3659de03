#!/usr/bin/env bash
# images.sh [NAME…]: container images as docker-archives in target/cluster/img, only those whose inputs changed.
set -euo pipefail
. "$(dirname "$0")/lib/common.sh"
. "$RIG/lib/image.sh"
. "$RIG/lib/image-recipes.sh"
. "$RIG/lib/build.sh"

need_root images   # redis comes from a Debian tree, which only root can unpack as it is
read -ra names <<<"${*:-$IMAGES}"
for name in "${names[@]}"; do
  [ -n "${REF[$name]:-}" ] || die "no image is called $name; there are: $IMAGES"
done
for name in "${names[@]}"; do
  case $name in
    coredns | metrics-server) build_kubernetes ;;
    operator | sidecar) build_rust "$name" ;;
  esac
  image_build "$name"
done
for name in "${names[@]}"; do say "${REF[$name]}  $IMG/$name.tar"; done
