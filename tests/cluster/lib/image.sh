# shellcheck shell=bash
# Container images without Docker and without a registry: a directory becomes a docker-archive of one layer.
# Rebuilt only when what goes in has changed: each recipe's inputs and its own text are one key.

declare -A REF=(
  [pause]=localhost/pause:1 [redis]=localhost/redis:7 [coredns]=localhost/coredns:1 [metrics-server]=localhost/metrics-server:1
  [operator]=localhost/hyperpage-operator:0.1.0 [sidecar]=localhost/hyperpage-sidecar:0.1.0 [demo]=localhost/hyperpage-demo:0.1.0
)
DEMO=$ROOT/examples/demo

# What identifies an archive: its manifest names its configuration, and that its layers, by digest.
image_digest() { tar -xOf "$1" --occurrence=1 manifest.json | sha256sum | cut -d' ' -f1; }

# image_build NAME
image_build() {
  local key work archive=$IMG/$1.tar
  key=$(image_key "$1")
  [ ! -e "$archive" ] || [ "$(cat "$archive.key" 2>/dev/null)" != "$key" ] || return 0
  mkdir -p "$IMG"; work=$(mktemp -d "$IMG/.work-XXXXXX")
  mkdir "$work/root"
  "fill_${1//-/_}" "$work/root"
  pack "$work" "${REF[$1]}" "$("config_${1//-/_}")"
  mv "$work/image.tar" "$archive"; echo "$key" >"$archive.key"
  rm -rf --one-file-system "$work"
  say "built ${REF[$1]}, $(du -m "$archive" | cut -f1) MB"
}

# Size and time of large files stand for their bytes; the text of this file and of the recipes for how they are used.
image_key() {
  { cat "$RIG/lib/image.sh" "$RIG/lib/image-recipes.sh"; "inputs_${1//-/_}" | xargs -r stat -L -c '%n %s %.Y'; } | sha256sum
}

# pack WORK REF CONFIG: WORK/root as WORK/image.tar. Sorted and without times, so that equal content is an equal image.
pack() {
  local work=$1 layer config
  tar --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 -C "$work/root" -cf "$work/layer.tar" .
  layer=$(sha256sum "$work/layer.tar" | cut -d' ' -f1)
  printf '{"architecture":"%s","os":"linux","config":%s,"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' \
    "$(go_arch)" "$3" "$layer" >"$work/config.json"
  config=$(sha256sum "$work/config.json" | cut -d' ' -f1).json
  mv "$work/config.json" "$work/$config"
  printf '[{"Config":"%s","RepoTags":["%s"],"Layers":["layer.tar"]}]' "$config" "$2" >"$work/manifest.json"
  tar -C "$work" -cf "$work/image.tar" manifest.json "$config" layer.tar
}

go_arch() { case $(uname -m) in x86_64) echo amd64 ;; aarch64) echo arm64 ;; *) uname -m ;; esac; }

# put ROOT FILE PATH: one file, without debug symbols where it has any
put() {
  mkdir -p "$1${3%/*}"
  strip --strip-debug -o "$1$3" "$2" 2>/dev/null || cp -L "$2" "$1$3"
  chmod 755 "$1$3"
}

# put_libraries ROOT FILE: what the dynamic linker of this machine would load for it, at the same places
put_libraries() {
  ldd "$2" | grep -oE '/[^ ]+\.so[^ ]*' | sort -u | while read -r lib; do
    mkdir -p "$1${lib%/*}"; cp -L "$lib" "$1$lib"
  done
}

# Names, and the certificates of public authorities, for programs that resolve and dial.
put_base() {
  mkdir -p "$1/etc/ssl/certs" "$1/tmp"; chmod 1777 "$1/tmp"
  printf 'root:x:0:0::/:\nnonroot:x:65532:65532::/:\nnode:x:1001:1001::/:\n' >"$1/etc/passwd"
  echo 'hosts: files dns' >"$1/etc/nsswitch.conf"
  [ ! -e /etc/ssl/certs/ca-certificates.crt ] || cp -L /etc/ssl/certs/ca-certificates.crt "$1/etc/ssl/certs/"
}
