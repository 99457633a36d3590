#!/usr/bin/env bash
# Tests of launch/onecopy --restart: what is started again, when, how often, and what ends that.
#   restart_test.sh [NAME-PATTERN]
# The launcher is sourced in subshells, on purpose: what it sets is not to reach the tests.
# shellcheck disable=SC2031,SC2119
set -uo pipefail
# shellcheck source=tests/launch/support.bash
source "$(dirname "${BASH_SOURCE[0]}")/support.bash"

runs() { wc -l <"$work/runs"; }

test_what() {
  local code
  rm -f "$work/runs"
  run --restart 3 -n 1 fail "$work/runs" 2 5
  equal "a failed rank is started again until it works" "0 after 3 runs" "$status after $(runs) runs"
  equal "one line for each, with the reason" $'onecopy: restart 1 of 3 in 1 s: a rank or the communication failed
onecopy: restart 2 of 3 in 2 s: a rank or the communication failed' "$(grep restart <<<"$err")"
  rm -f "$work/runs"
  run --restart 1 -n 1 fail "$work/runs" 9 5
  equal "no more often than told" "5 after 2 runs" "$status after $(runs) runs"
  contains "and says so" "given up after 1 restart(s): a rank or the communication failed" "$err"
  run --restart 1 -n 2 kill
  # Which signal it was, mpirun sometimes does not know itself.
  contains "a killed rank is started again" "restart 1 of 1 in 1 s: a rank " "$err"
  equal "and is a failed rank in the end" 5 "$status"
  for code in 2 3 4; do
    rm -f "$work/runs"
    run --restart 3 -n 1 fail "$work/runs" 9 "$code"
    equal "exit code $code is not for restarts" "$code after 1 runs" "$status after $(runs) runs"
    [[ $(runs) == 1 ]] || cat "$work/err"
  done
  rm -f "$work/runs"
  run -n 1 fail "$work/runs" 9 5
  equal "nor is anything without --restart" "5 after 1 runs" "$status after $(runs) runs"
  equal "nothing is left" "" "$(leftovers)"
}

test_delay() {
  local delays
  delays=$(
    # shellcheck source=launch/onecopy
    source "$onecopy"
    num_restarts=0
    for _ in {1..9}; do next_delay 599 && echo -n "$delay "; done
    next_delay 600 && echo -n "then $delay, count $num_restarts"
  )
  equal "waits double up to a minute; 10 good minutes start anew" "1 2 4 8 16 32 60 60 60 then 1, count 1" "$delays"
}

# signalled SIGNAL: ends a job that waits for its third restart; sets status and elapsed_ms from the signal to the end.
signalled() {
  local pid start
  python3 -c 'import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)  # a background job of a script ignores it, and its children inherit that
os.execv(sys.argv[1], sys.argv[1:])' "$onecopy" --restart 9 -n 1 fail "$work/runs" 99 5 2>"$work/err" &
  pid=$!
  for _ in {1..200}; do
    if grep -q 'restart 3 of 9 in 4 s' "$work/err"; then break; fi
    sleep 0.1
  done
  start=$(date +%s%3N)
  kill "-$1" "$pid"
  wait "$pid"
  status=$?
  elapsed_ms=$(($(date +%s%3N) - start))
}

test_signal() {
  local elapsed_ms
  signalled INT
  equal "Ctrl-C while waiting" 130 "$status"
  equal "ends at once" yes "$( ((elapsed_ms < 2000)) && echo yes || echo "$elapsed_ms ms")"
  signalled TERM
  equal "SIGTERM while waiting" 143 "$status"
  equal "ends at once" yes "$( ((elapsed_ms < 2000)) && echo yes || echo "$elapsed_ms ms")"
}

run_tests what delay signal "${1:-}"
