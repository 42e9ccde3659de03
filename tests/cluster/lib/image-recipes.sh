# shellcheck shell=bash
# One image: what goes in (inputs_NAME, files), how (fill_NAME ROOT), how it runs (config_NAME). See image.sh.

inputs_pause() { command -v catatonit; }
fill_pause() { put "$1" "$(command -v catatonit)" /pause; }
config_pause() { echo '{"Entrypoint":["/pause","-P"],"User":"65535:65535"}'; }

inputs_coredns() { echo "$BIN/coredns"; }
fill_coredns() { put "$1" "$BIN/coredns" /coredns; }
config_coredns() { echo '{"Entrypoint":["/coredns"]}'; }

inputs_metrics_server() { echo "$BIN/metrics-server"; }
fill_metrics_server() { put "$1" "$BIN/metrics-server" /metrics-server; }
config_metrics_server() { echo '{"Entrypoint":["/metrics-server"],"User":"65532:65532"}'; }

inputs_operator() { echo "$CARGO_OUT/hyperpage-operator"; }
fill_operator() { fill_rust "$1" hyperpage-operator; }
config_operator() { echo '{"Entrypoint":["/hyperpage-operator"],"User":"65532:65532"}'; }

inputs_sidecar() { echo "$CARGO_OUT/hyperpage-sidecar"; }
fill_sidecar() { fill_rust "$1" hyperpage-sidecar; }
config_sidecar() { echo '{"Entrypoint":["/hyperpage-sidecar"],"User":"65532:65532"}'; }

fill_rust() {
  put_base "$1"
  put "$1" "$CARGO_OUT/$2" "/$2"
  put_libraries "$1" "$CARGO_OUT/$2"
}

# The machine's own Node, and the demo's server and pages; not what runs it as plain processes on a laptop.
demo_files() { find "$DEMO" \( -name node_modules -o -path "$DEMO/control*" \) -prune -o -type f ! -name '*.sh' ! -name '*.md' -print; }
inputs_demo() { command -v node; demo_files; }
fill_demo() {
  local file
  put_base "$1"
  put "$1" "$(command -v node)" /usr/bin/node
  put_libraries "$1" "$(command -v node)"
  demo_files | while read -r file; do install -D -m 644 "$file" "$1/app/${file#"$DEMO/"}"; done
}
config_demo() { echo '{"Entrypoint":["/usr/bin/node"],"Cmd":["server.js"],"WorkingDir":"/app","User":"1001:1001","Env":["PATH=/usr/bin","NODE_ENV=production"]}'; }

# Debian's Redis with a shell beside it, from the distribution this machine runs.
inputs_redis() { echo /etc/debian_version; }
fill_redis() {
  local suite tree=$1.debian name file
  # shellcheck source=/dev/null
  suite=$(. /etc/os-release; echo "$VERSION_CODENAME")
  mmdebstrap --quiet --variant=extract --include=redis-server,redis-tools,busybox-static "$suite" "$tree"
  put_base "$1"
  for name in redis-server redis-cli redis-check-rdb; do put "$1" "$tree/usr/bin/$name" "/usr/bin/$name"; done
  file=$tree/bin/busybox; [ -e "$file" ] || file=$tree/usr/bin/busybox
  put "$1" "$file" /bin/busybox
  for name in sh cat sleep ls env id rm mkdir date grep; do ln -s busybox "$1/bin/$name"; done
  libraries_in "$tree" /usr/bin/redis-server /usr/bin/redis-cli | while read -r file; do
    mkdir -p "$1${file%/*}"; cp -L "$tree$file" "$1$file"
  done
  mkdir -m 777 "$1/data"
  rm -rf --one-file-system "$tree"
}
# Asked of that tree's own dynamic linker: its libraries are not this machine's.
libraries_in() {
  local tree=$1 linker file; shift
  linker=$(cd "$tree" && compgen -G 'lib*/ld-linux-*.so.?' | head -n 1)
  for file in "$@"; do chroot "$tree" "/$linker" --list "$file"; done | grep -oE '/[^ ]+\.so[^ ]*' | sort -u
}
config_redis() { echo '{"Entrypoint":["redis-server"],"WorkingDir":"/data","User":"999:999","Env":["PATH=/usr/bin:/bin"]}'; }
