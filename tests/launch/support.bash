# shellcheck shell=bash
# Shared by the tests of launch/: a copy of it whose build/release/onecopy is a small script, and how claims are counted.
# A test program sources this, defines functions test_NAME and ends with run_tests NAMES... PATTERN.

source_tree=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/onecopy-launch-test-XXXXXXXX")
trap 'rm -rf "$work"' EXIT
tree="$work/a tree"
mkdir -p "$tree/launch" "$tree/build/release"
cp "$source_tree"/launch/{onecopy,setup,host_daemon,*.bash} "$tree/launch/"
onecopy=$tree/launch/onecopy
unset "${!ONECOPY_@}" "${!OMP_@}" "${!SLURM_@}"

# The binary's stand-in: its first argument says what it does. Not through env, for the process to be named onecopy. Ranks are numbered by Open MPI.
cat >"$tree/build/release/onecopy" <<'TEXT'
#!/bin/bash
rank=${OMPI_COMM_WORLD_RANK:-0}
leave() { if [[ -n ${ONECOPY_EXIT_CODE:-} ]]; then (set -C && echo "$1" >"$ONECOPY_EXIT_CODE") 2>/dev/null; fi }
case $1 in
  show) echo "rank $rank of ${OMPI_COMM_WORLD_SIZE:-1} bind=$ONECOPY_BIND threads=${ONECOPY_THREADS:-} wait=${OMP_WAIT_POLICY:-} args=${*:2}" ;;
  terminal) echo "terminal=${ONECOPY_TERMINAL:-no}" ;;
  input) if [[ $rank == 0 ]]; then cat; fi ;;
  exit) if [[ $rank == 1 || ${OMPI_COMM_WORLD_SIZE:-1} == 1 ]]; then echo "our one message" >&2 && leave "$2" && exit "$2"; fi; sleep 60 ;;
  # misread CODE: what the job looks like where mpirun makes another code of it.
  misread) leave "$2"; exit 1 ;;
  kill) if [[ $rank == 1 ]]; then kill -KILL $$; fi; sleep 60 ;;
  wait) echo "rank $rank is up" && exec sleep 61.75 ;;
  # Takes a second to finish when told to end.
  drain) echo "rank $rank is up"; trap 'sleep 1; echo "rank $rank has finished"; exit 0' TERM; while :; do sleep 0.1; done ;;
  # fail FILE TIMES CODE: ends with CODE for the first TIMES runs, which FILE counts.
  fail) echo run >>"$2"; if (($(wc -l <"$2") <= $3)); then leave "$4"; exit "$4"; fi ;;
esac
TEXT
chmod +x "$tree/build/release/onecopy"

passed=0 failed=0
equal() {  # WHAT EXPECTED FOUND
  if [[ $2 == "$3" ]]; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    printf 'FAILED %s\n  expected: %s\n  found:    %s\n' "$1" "$2" "$3"
  fi
}
contains() {  # WHAT PART WHOLE
  if [[ $3 == *"$2"* ]]; then equal "$1" '' ''; else equal "$1" "... $2 ..." "$3"; fi
}
lacks() {  # WHAT PART WHOLE
  if [[ $3 != *"$2"* ]]; then equal "$1" '' ''; else equal "$1" "no $2" "$3"; fi
}

leftovers() {
  local lock
  pgrep -f 'sleep 61.75'
  while IFS= read -r lock; do  # one that is held is of somebody else's job
    if flock --nonblock "$lock" true 2>/dev/null; then echo "${lock%/lock}"; fi
  done < <(find /dev/shm "${TMPDIR:-/tmp}" -maxdepth 2 -path '*/onecopy-run-*/lock' -newer "$work/mark" 2>/dev/null)
}

run() {  # sets out, err, status
  "$onecopy" "$@" >"$work/out" 2>"$work/err"
  status=$?
  # shellcheck disable=SC2034  # for tests
  out=$(<"$work/out") err=$(<"$work/err")
}

usage_is_refused() {  # WORDS...: of stdin's lines "arguments|message", each is refused with it, by onecopy WORDS ARGUMENTS
  local arguments message out
  while IFS='|' read -r arguments message; do
    # shellcheck disable=SC2086  # words on purpose
    out=$("$onecopy" "$@" $arguments 2>&1)
    equal "exit code of: $* $arguments" 2 $?
    contains "message of: $* $arguments" "$message" "$out"
  done
}

run_tests() {  # NAMES... PATTERN
  local name
  touch "$work/mark"
  for name in "${@:1:$#-1}"; do
    if [[ $name == *"${*: -1}"* ]]; then "test_$name"; fi
  done
  echo "$passed passed, $failed failed"
  ((failed == 0 && passed > 0))
}
