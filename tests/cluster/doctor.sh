#!/usr/bin/env bash
# What this machine lacks for `make up`, all at once, each with the command that fixes it. Exit 0: `make up` can go on.
#   --fix    install missing Debian packages (only for programs missing from PATH, never removing a package)
#   --brief  print only what is wrong
#   --tests  also what only `make test` needs: a browser
set -euo pipefail
. "$(dirname "$0")/lib/common.sh"
. "$RIG/lib/build.sh"
. "$RIG/lib/doctor.sh"

FIX='' BRIEF=''
for arg in "$@"; do
  case $arg in
    --fix) FIX=yes ;;
    --brief) BRIEF=yes ;;
    --tests) PACKAGES+=' chromium:chromium' ;;
    *) STATUS=64 die "unknown option $arg; there are --fix, --brief and --tests" ;;
  esac
done

[ "$CLUSTER" = current ] || packages   # first: later checks use what it installs
if [ "$CLUSTER" = host ]; then
  root_and_kernel
  cgroups
  network
fi
toolchains
resources
verdict
