# shellcheck shell=bash
# The first time Kubernetes takes many minutes to build; the demo needs only the sidecar, so it is shown meanwhile.

PREVIEW=''

# Best effort: without it `make up` only has less to look at. It ends with us, even by SIGKILL.
preview_start() {
  local demo=$ROOT/examples/demo/demo.sh log=$LOG/preview.log
  if have_tools || [ ! -x "$demo" ]; then return 0; fi
  DEMO_PORT=0 setpriv --pdeathsig TERM "$demo" >"$log" 2>&1 </dev/null 9>&- &
  PREVIEW=$!
  if wait_for 15 grep -q '^The demo:' "$log" 2>/dev/null; then
    say "      ${BOLD}$(grep -oE 'http://[^ ]+' "$log" | head -n 1)${PLAIN} shows the app without Kubernetes until the cluster is up."
  fi
}

preview_stop() {
  [ -n "$PREVIEW" ] || return 0
  kill -TERM "$PREVIEW" 2>/dev/null || true
  wait "$PREVIEW" 2>/dev/null || true
  PREVIEW=''
}
