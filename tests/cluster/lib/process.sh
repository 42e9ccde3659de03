# shellcheck shell=bash
# Long-running processes, each known by a file with its pid and its start time: a pid alone may have been given
# to somebody else since, and a name is never ours alone.

PIDS=$STATE/pid

# daemon NAME COMMAND…: in a session of its own, so that Ctrl-C on `up` reaches it only through its pid file.
# The file is written by the child before it becomes the command: there is no moment in which it runs unrecorded.
daemon() {
  local name=$1; shift
  mkdir -p "$PIDS" "$LOG"
  # shellcheck disable=SC2016  # expanded by the child
  setsid sh -c 'f=$1; shift; echo "$$ $(sed "s/.*) //" /proc/$$/stat | cut -d" " -f20)" >"$f"; exec "$@"' \
    daemon "$PIDS/$name" "$@" >>"$LOG/$name.log" 2>&1 </dev/null 9>&- &
}

# The pid in a pid file, if that very process still runs.
live_pid() {
  local pid started stat
  { read -r pid started <"$1" && read -r stat <"/proc/$pid/stat"; } 2>/dev/null || return 1
  # shellcheck disable=SC2086  # fields after "pid (comm) ", whose comm may hold blanks: state is the first, start time the 20th
  set -- ${stat##*) }
  [ "$1" != Z ] && [ "${20}" = "$started" ] && echo "$pid"
}

# end_all PIDS…: at once. Nothing here has data to save, and a polite end of a control plane takes 20 s.
end_all() {
  local pid deadline=$(($(now) + 10))
  [ $# = 0 ] || kill -9 "$@" 2>/dev/null || true
  for pid in "$@"; do
    while [ -e "/proc/$pid" ] && ! grep -q '^State:.Z' "/proc/$pid/status" 2>/dev/null; do
      [ "$(now)" -lt "$deadline" ] || { warn "pid $pid does not end"; return 1; }
      sleep 0.05
    done
  done
}
