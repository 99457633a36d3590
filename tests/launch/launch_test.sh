#!/usr/bin/env bash
# Tests of launch/onecopy: what it finds on captured machines, what it composes, and how it runs and ends a job.
#   launch_test.sh [NAME-PATTERN]
# The launcher is sourced in subshells, on purpose: what it sets is not to reach the tests.
# shellcheck disable=SC2031,SC2119
set -uo pipefail

# shellcheck source=tests/launch/support.bash
source "$(dirname "${BASH_SOURCE[0]}")/support.bash"

# --- What it finds ------------------------------------------------------------------------------------------------------

machine() {  # NAME [CPUS MEMS]: "nodes / cores"
  local root=$work/machine
  rm -rf "$root"
  python3 -B "$source_tree/tests/support/capture_sysfs.py" --unpack "$source_tree/tests/data/sysfs/$1.txt" "$root"
  mkdir -p "$root/proc/self"
  if (($# > 1)); then printf 'Cpus_allowed_list:\t%s\nMems_allowed_list:\t%s\n' "$2" "$3" >"$root/proc/self/status"; fi
  [[ -e $root/proc/self/status ]] || : >"$root/proc/self/status"
  (
    # shellcheck source=launch/onecopy
    source "$onecopy"
    read_machine "$root"
    echo "${nodes[*]} / $cores"
  )
}

test_machines() {
  equal "24 nodes, 192 cores, SMT left out" "$(echo {0..23}) / 192" "$(machine 24-node-epyc-9655)"
  equal "interleaved numbering" "0 1 / 64" "$(machine 2-node-xeon-6338-interleaved)"
  equal "several nodes of a package" "0 1 2 3 4 5 6 7 / 128" "$(machine 8-node-epyc-7763-nps4)"
  equal "HBM nodes hold no rank" "0 1 2 3 / 16" "$(machine 8-node-knl-snc4-hbm)"
  equal "offline CPUs, memory of GPUs, 4-way SMT" "0 8 / 8" "$(machine 8-node-power9-gpu-memory)"
  equal "gaps in node ids" "0 1 2 33 34 45 72 73 / 48" "$(machine 8-node-opteron-sparse-ids)"
  equal "CPUs apart from memory: the memory nearest to them" "5 6 8 9 / 8" "$(machine 11-node-cpus-apart-from-memory)"
  equal "no NUMA in the kernel" "0 / 2" "$(machine 0-node-s390)"
  equal "one node" "0 / 8" "$(machine 1-node-xeon)"
  equal "CPU set over three nodes, memory of two" "1 2 / 32" "$(machine 8-node-epyc-7763-nps4 16-47,160-163 1-2)"
  equal "more CPUs allowed than exist" "0 1 / 64" "$(machine 2-node-xeon-6338-interleaved 0-8191 0-1023)"
}

# --- What it composes -----------------------------------------------------------------------------------------------------

dry_run() { "$onecopy" --dry-run "$@" 2>/dev/null; }

test_dry_run() {
  local line
  line=$(dry_run -n 1 generate -p "it's a" --json)
  equal "one rank needs no mpirun" "env ONECOPY_BIND=numa $(printf %q "$tree")/build/release/onecopy generate -p it\\'s\\ a --json" "$line"
  line=$(dry_run -n 3 --threads 2 --bind none generate -n 5)
  contains "ranks" "mpirun -n 3 " "$line"
  contains "the binary binds itself" " --bind-to none " "$line"
  contains "threads" " -x ONECOPY_THREADS=2 " "$line"
  contains "binding" " -x ONECOPY_BIND=none " "$line"
  contains "the command's own options come last" "/build/release/onecopy generate -n 5" "$line"
  equal "one line" 1 "$(wc -l <<<"$line")"
  equal "equals sign and joined value" "$line" "$(dry_run -n3 --threads=2 --bind=none generate -n 5)"
  contains "too many threads wait passively" "-x OMP_WAIT_POLICY=passive" "$(dry_run -n 512 --threads 8 bench)"
  lacks "threads that fit do not" "OMP_WAIT_POLICY" "$(dry_run -n 1 --threads 1 bench)"
  contains "the user's OpenMP settings go along" "-x OMP_PLACES=cores" "$(OMP_PLACES=cores dry_run -n 2 bench)"
  line=$(dry_run --hosts a,b -n 4 generate)
  contains "hosts" " --host a,b " "$line"
  contains "ranks a host" "ppr:2:node" "$line"
  lacks "networks are searched between hosts" "--mca btl" "$line"
  # Open MPI 5 has these in PRRTE.
  contains "a silent host is noticed in seconds" "--mca oob_tcp_keepalive_time 2 --mca oob_tcp_keepalive_intvl 1 --mca oob_tcp_keepalive_probes 3" "${line//--prtemca/--mca}"
  lacks "what the user has set for that stays" "keepalive_time" "$(OMPI_MCA_oob_tcp_keepalive_time=60 PRTE_MCA_oob_tcp_keepalive_time=60 dry_run --hosts a,b generate)"
  lacks "one host has none to lose" "keepalive" "$(dry_run -n 2 generate)"
  contains "hosts with ranks" "mpirun -n 5 " "$(dry_run --hosts a:2,b:3 generate)"
  printf 'a slots=3\n# b slots=9\nc slots = 4' >"$work/hosts"
  contains "ranks of a host file" "mpirun -n 7 " "$(dry_run --hostfile "$work/hosts" generate)"
  contains "hosts with too few cores wait passively" "mpi_yield_when_idle" "$(dry_run --hosts "$HOSTNAME:512" generate)"
  lacks "of others this host knows nothing" "mpi_yield_when_idle" "$(dry_run --hosts a:512 generate)"
  line=$(dry_run doctor)
  contains "doctor is one unbound process" "env ONECOPY_BIND=none " "$line"
  contains "a dry run reads back as the same words" "<it's a>" "$(
    eval "set -- $(dry_run -n 2 generate -p "it's a")"
    printf '<%s>' "$@"
  )"
}

test_usage() {
  local out
  usage_is_refused <<'TEXT'
|no command given
-n 2|no command given
--frobnicate generate|unknown option --frobnicate
-n 0 generate|-n 0: expected a number
-n x generate|-n x: expected a number
-n|option -n needs a value
--threads 1.5 generate|--threads 1.5: expected a number
--bind socket generate|--bind socket: expected numa or none
--hosts a, generate|--hosts a,: expected names
--hosts a --hostfile /dev/null generate|exclude each other
--hostfile /nonexistent generate|cannot be read
TEXT
  out=$("$onecopy" --help)
  equal "--help" 0 $?
  contains "--help has examples" "launch/onecopy doctor" "$out"
}

# --- How it runs ------------------------------------------------------------------------------------------------------------

test_run() {
  run -n 1 show a "b c"
  equal "one rank" "rank 0 of 1 bind=numa threads= wait= args=a b c" "$out"
  run -n 3 --threads 1 show
  equal "all ranks ran" $'rank 0 of 3\nrank 1 of 3\nrank 2 of 3' "$(cut -d' ' -f1-4 <<<"$out" | sort)"
  contains "environment" "bind=numa threads=1" "$out"
  run -n 2 input <<<$'x\ny'
  equal "standard input goes to rank 0" $'x\ny' "$out"
  run -n 1 exit 4
  equal "exit code of one rank" 4 "$status"
  run -n 3 exit 3
  equal "exit code of a rank" 3 "$status"
  equal "one message" "our one message" "$(grep -v warning <<<"$err")"
  run -n 2 misread 4
  equal "exit code of the ranks, not what mpirun makes of it" 4 "$status"
  run -n 3 kill
  equal "a killed rank is a failed rank" 5 "$status"
  # mpirun adds which rank it was, in most runs; filter_notices is tested to keep that.
  contains "how it ended" "a rank was ended by signal 9 (KILL)" "$err"
  mv "$tree/build/release/onecopy" "$work/stand-in"
  printf '#!/bin/sh\necho setup ran\ncp "%s" "%s"\n' "$work/stand-in" "$tree/build/release/onecopy" >"$tree/launch/setup"
  run -n 1 show
  equal "an absent binary is built first" "rank 0 of 1 bind=numa threads= wait= args=" "$out"
  contains "with its progress on standard error" "setup ran" "$err"
  rm "$tree/build/release/onecopy"
  printf '#!/bin/sh\nexit 3\n' >"$tree/launch/setup"
  run -n 1 show
  equal "a failed set-up ends the launch with its code" 3 "$status"
  cp "$work/stand-in" "$tree/build/release/onecopy"
  equal "nothing is left" "" "$(leftovers)"
}

test_private() {
  mkdir -p "$work/daemon/bin"
  # shellcheck disable=SC2016  # for the stand-in to expand
  printf '#!/bin/bash\nstat -c %%a "$@"\n' >"$work/daemon/bin/orted"
  chmod +x "$work/daemon/bin/orted"
  equal "folders on other hosts are the user's alone" 700 \
    "$(umask 022; PATH=$work/daemon/bin:$PATH "$tree/launch/host_daemon" "$work/daemon/onecopy-run-x" -- "$work/daemon/onecopy-run-x")"
  "$onecopy" -n 2 wait >"$work/out" 2>&1 &
  for _ in {1..100}; do
    if [[ $(grep -c up "$work/out") == 2 ]]; then break; fi
    sleep 0.1
  done
  equal "and so are those on this one" 700 \
    "$(find /dev/shm "${TMPDIR:-/tmp}" -maxdepth 1 -name 'onecopy-run-*' -newer "$work/mark" -printf '%m\n' 2>/dev/null | sort -u)"
  kill -TERM $!
  wait $!
}

test_installed() {
  local usr="$work/a prefix" line
  mkdir -p "$usr/bin" "$usr/lib/onecopy"
  cp -r "$tree/launch" "$usr/lib/onecopy/"
  rm "$usr/lib/onecopy/launch/setup"
  cp "$source_tree/launch/slurm.sbatch" "$usr/lib/onecopy/launch/"
  ln -s ../lib/onecopy/launch/onecopy "$usr/bin/onecopy"
  line=$("$usr/bin/onecopy" -n 1 show 2>&1)
  contains "without its binary it says so, and builds nothing" "lib/onecopy/onecopy is missing" "$line"
  cp "$tree/build/release/onecopy" "$usr/lib/onecopy/"
  equal "it runs from where the link leads" $'rank 0 of 2\nrank 1 of 2' "$("$usr/bin/onecopy" -n 2 --threads 1 show 2>/dev/null | cut -d' ' -f1-4 | sort)"
  contains "its siblings too" "$(printf %q "$usr")/lib/onecopy/launch/slurm.sbatch --tree $(printf %q "$usr")/lib/onecopy bench" \
    "$("$usr/bin/onecopy" submit --dry-run bench)"
  ln -s "$usr" "$work/elsewhere"
  contains "folders that are links stay" "$work/elsewhere/lib/onecopy/onecopy" "$("$work/elsewhere/lib/onecopy/launch/onecopy" -n 1 --dry-run show)"
  ln -s "$usr/bin/onecopy" "$work/one"
  contains "a link to a link" "$(printf %q "$usr")/lib/onecopy/onecopy" "$("$work/one" -n 1 --dry-run show)"
  contains "outside of the PATH it goes by its place" "Usage: $usr/bin/onecopy [-n" "$("$usr/bin/onecopy" --help)"
  contains "in the PATH it goes by its name" "Usage: onecopy [-n" "$(PATH=$usr/bin:$PATH onecopy --help)"
  contains "in a tree by its place" "Usage: launch/onecopy [-n" "$(PATH=$usr/bin:$PATH "$onecopy" --help)"
}

on_terminal() {  # COMMAND...: on a terminal of its own, whose text is printed
  script -qec "$(printf '%q ' "$@")" /dev/null </dev/null
}

test_terminal() {
  run -n 2 terminal
  equal "a pipe is no terminal" $'terminal=no\nterminal=no' "$out"
  if ! command -v script >/dev/null; then
    echo "SKIPPED terminal: no script(1) to make a terminal with"
    return
  fi
  contains "ranks know of the launcher's terminal" "terminal=1" "$(on_terminal "$onecopy" -n 2 terminal)"
  local real=$source_tree/build/release/onecopy
  if [[ ! -x $real ]]; then
    echo "SKIPPED progress: $real is not built"
    return
  fi
  contains "progress of two ranks" "loading " "$(on_terminal "$source_tree/launch/onecopy" -n 2 --threads 1 generate -p Once -n 2 --temp 0)"
  lacks "none in a file" "loading " "$("$source_tree/launch/onecopy" -n 2 --threads 1 generate -p Once -n 2 --temp 0 2>&1)"
}

interrupt() {  # EXPECTED SIGNAL [TIMES]
  local pid i before
  : >"$work/out"
  python3 -c 'import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)  # a background job of a script ignores it, and its children inherit that
os.execv(sys.argv[1], sys.argv[1:])' "$onecopy" -n 3 wait >"$work/out" 2>"$work/err" &
  pid=$!
  for ((i = 0; i < 100; i++)); do
    if [[ $(grep -c up "$work/out") == 3 ]]; then break; fi
    sleep 0.1
  done
  before=$SECONDS
  for ((i = 0; i < ${3:-1}; i++)); do kill "-$2" "$pid" 2>/dev/null && sleep 0.05; done
  wait "$pid"
  equal "exit code after $2 x ${3:-1}" "$1" $?
  lacks "no notices after $2 x ${3:-1}" "noticed" "$(<"$work/err")"
  equal "nothing is left after $2 x ${3:-1}" "" "$(leftovers)"
  if ((SECONDS - before > 8)); then equal "$2 ends the job quickly" "8 s" "$((SECONDS - before)) s"; fi
}

test_drain() {
  local pid
  for ranks in 1 3; do
    "$onecopy" --restart 1 -n "$ranks" drain >"$work/out" 2>"$work/err" &
    pid=$!
    for _ in {1..100}; do
      if [[ $(grep -c up "$work/out") == "$ranks" ]]; then break; fi
      sleep 0.1
    done
    kill -TERM "$pid"
    wait "$pid"
    equal "what finishes after SIGTERM has ended well ($ranks ranks)" "0, $ranks finished" "$?, $(grep -c finished "$work/out") finished"
    lacks "and is not started again" restart "$(<"$work/err")"
  done
}

test_signals() {
  interrupt 130 INT
  interrupt 130 INT 2
  interrupt 143 TERM
  interrupt 143 TERM 3
}

test_filter() {
  local dashes
  dashes=$(printf -- '-%.0s' {1..74})
  # shellcheck source=launch/onecopy
  filter() { (source "$onecopy" && filter_notices); }
  equal "what repeats our message is left out" $'before\nafter' "$(printf '%s\n' before "$dashes" \
    'Primary job  terminated normally, but 1 process returned' 'a non-zero exit code.' "$dashes" after | filter)"
  equal "other notices stay" "$dashes"$'\nmpirun noticed that process rank 1\n'"$dashes" \
    "$(printf '%s\n' "$dashes" 'mpirun noticed that process rank 1' "$dashes" | filter)"
  equal "a notice that does not end stays" "$dashes"$'\nmpirun detected' \
    "$(printf '%s\n' "$dashes" 'mpirun detected' | filter)"
  equal "empty lines and a last line without newline stay" $'a\n\n  b' "$(printf 'a\n\n  b' | filter)"
  equal "dashes and backslashes stay" $'---- \\n x' "$(printf '%s\n' '---- \n x' | filter)"
  # A progress display has no newline: it is seen while its writer still works.
  equal "partial lines pass at once" "loading 5 %" \
    "$({ printf 'loading 5 %%' && sleep 3; } | filter | { IFS= read -r -t 1.5 -N 11 seen; printf '%s' "$seen"; })"
}

test_shellcheck() {
  if ! command -v shellcheck >/dev/null; then
    echo "SKIPPED shellcheck: not installed"
    return
  fi
  equal "shellcheck" "" "$(cd "$source_tree" && shellcheck -x launch/onecopy launch/host_daemon launch/*.bash launch/setup launch/slurm.sbatch \
    tests/launch/*_test.sh .ci/run 2>&1)"
}

run_tests machines dry_run usage run private installed terminal signals drain filter shellcheck "${1:-}"
