# shellcheck shell=bash
# Numbered steps with elapsed and usual time. A step runs in its own process group with its output in a log file,
# so that a failure shows its last lines and Ctrl-C ends all of it.

STEP=0 STEPS=0 STEP_PID='' BEGAN=$(now)

# step TITLE USUAL COMMAND…
step() {
  local title=$1 usual=$2; shift 2
  STEP=$((STEP + 1))
  local log=$LOG/step-$STEP.log head="[$STEP/$STEPS] $title" start status=0
  mkdir -p "$LOG"; start=$(date +%s%N)
  say "$head (usually $usual)"
  set -m   # a process group of its own; off again inside, or daemons would be group leaders and setsid would fork
  (set +m -e; "$@") >"$log" 2>&1 </dev/null &
  STEP_PID=$!
  set +m
  watch_step "$start" "$log"
  wait "$STEP_PID" || status=$?
  STEP_PID=''
  [ "$status" = 0 ] || { fail_step "$title" "$log" "$status"; return 1; }
  say "      ${GREEN}done${PLAIN} in $(seconds_since "$start") s"
}

seconds_since() { local ms=$((($(date +%s%N) - $1) / 1000000)); printf '%d.%d' $((ms / 1000)) $((ms % 1000 / 100)); }

# A sign of life: each second over the same line on a terminal, a line every 30 s elsewhere.
watch_step() {
  local start=$1 log=$2 elapsed last=0
  while kill -0 "$STEP_PID" 2>/dev/null; do
    sleep 0.2
    elapsed=$((($(date +%s%N) - start) / 1000000000))
    if [ -t 1 ] && [ "$elapsed" != "$last" ]; then
      printf '\r\e[K      %s  %.60s' "$(clock "$elapsed")" "$(tail -n 1 "$log" | tr -d '[:cntrl:]')"; last=$elapsed
    elif [ ! -t 1 ] && [ $((elapsed - last)) -ge 30 ]; then
      say "      $(clock "$elapsed")  $(tail -n 1 "$log" | tr -d '[:cntrl:]' | cut -c 1-100)"; last=$elapsed
    fi
  done
  [ ! -t 1 ] || printf '\r\e[K'
}

fail_step() {
  say "      ${RED}failed${PLAIN} (status $3). The last lines of $2:"
  tail -n 20 "$2" | sed 's/^/      | /'
}

# The step under way, with everything it started and did not hand over to `daemon`.
end_step() {
  [ -n "$STEP_PID" ] || return 0
  kill -TERM -- "-$STEP_PID" 2>/dev/null || true
  wait "$STEP_PID" 2>/dev/null || true
  kill -KILL -- "-$STEP_PID" 2>/dev/null || true
  STEP_PID=''
}
