#!/usr/bin/env bash
# Tests of launch/onecopy submit and launch/slurm.sbatch without Slurm: the call of sbatch, and what the job script makes
# of it, with stand-ins for srun and scontrol. tests/cluster/slurm_test.py has the real ones.
#   submit_test.sh [NAME-PATTERN]
# The launcher is sourced in subshells, on purpose: what it sets is not to reach the tests.
# shellcheck disable=SC2031,SC2119
set -uo pipefail
# shellcheck source=tests/launch/support.bash
source "$(dirname "${BASH_SOURCE[0]}")/support.bash"
cp "$source_tree/launch/slurm.sbatch" "$tree/launch/"

submit() { "$onecopy" submit --dry-run "$@" 2>&1; }

test_compose() {
  local line script
  script="$(printf %q "$tree")/launch/slurm.sbatch --tree $(printf %q "$tree")"
  equal "a whole host" "sbatch --nodes=1 --exclusive --mem=0 --signal=TERM@60 $script generate -p a\\ b" \
    "$(submit generate -p "a b")"
  equal "two hosts for an hour" "sbatch --time=1:00:00 --partition=long --account=me --nodes=2 --exclusive --mem=0 --signal=TERM@60 $script -n 24 --threads 8 bench" \
    "$(submit --nodes 2 --time 1:00:00 --partition long --account=me -n 24 --threads 8 bench)"
  line=$(submit --cpus-per-task 16 --mem 64G bench)
  contains "part of a host" "--cpus-per-task=16 --mem=64G" "$line"
  lacks "is not all of it" "--exclusive" "$line"
  line=$(submit --array 128,512,2048%2 bench -p {})
  contains "a task for each value, two at a time" "--array=0-2%2 " "$line"
  contains "the values go along" "--each 128,512,2048 bench -p \\{\\}" "$line"
  contains "each has a file" "--output=onecopy-%A_%a.out --error=onecopy-%A_%a.err" "$line"
  contains "results apart from messages" "--output=x.out --error=x.err" "$(submit --output x.out bench)"
  line=$(submit --requeue bench)
  contains "Slurm may start it again" " --requeue " "$line"
  contains "and so may the script" " --requeue-failed bench" "$line"
  contains "the drain is longer" "--signal=TERM@300" "$(submit --drain 300 bench)"
  contains "ranks that Slurm does not know are told through the script" "--signal=B:TERM@60" "$(submit --launcher mpirun bench)"
  : >"$work/my script"
  contains "a job script of one's own" "$(printf %q "$work")/my\\ script --tree $(printf %q "$tree") bench" "$(submit --script "$work/my script" bench)"
  contains "sbatch waits" " --wait " "$(submit --wait bench)"
  usage_is_refused submit <<'TEXT'
|no command given
--nodes 0 bench|--nodes 0: expected a number
--nodes|option --nodes needs a value
--frobnicate 1 bench|unknown option --frobnicate
--time soon bench|--time soon: expected minutes
--threads none bench|--threads none: expected a number
--launcher ssh bench|--launcher ssh: expected mpirun or srun
--script /nonexistent bench|--script /nonexistent: cannot be read
--exclusive --cpus-per-task 2 bench|exclude each other
--array 1,2 bench -p 3|--array needs {}
--array 1,2%x bench -p {}|--array 1,2%x: expected
TEXT
  line=$(PATH=/usr/bin:/bin:$work/none "$onecopy" submit --help)
  equal "--help" 0 $?
  contains "--help has examples" "launch/onecopy submit --array" "$line"
  mkdir "$work/no-slurm"
  ln -s "$(command -v bash)" "$(command -v dirname)" "$work/no-slurm/"
  line=$(PATH=$work/no-slurm bash "$onecopy" submit bench 2>&1)
  equal "without Slurm" 5 $?
  contains "it says what to do" "this host does not submit to a Slurm cluster" "$line"
}

# job WORDS...: runs the job script as Slurm would: a copy elsewhere, with srun and scontrol from a folder of stand-ins.
job() {
  mkdir -p "$work/spool" "$work/bin"
  cp "$tree/launch/slurm.sbatch" "$work/spool/slurm_script"
  # shellcheck disable=SC2016  # for the stand-in to expand
  printf '#!/bin/bash\necho "srun $*"; echo "$SRUN_SAYS" >&2; exit ${SRUN_STATUS:-0}\n' >"$work/bin/srun"
  # shellcheck disable=SC2016
  printf '#!/bin/bash\necho "scontrol $*"\n' >"$work/bin/scontrol"
  chmod +x "$work/bin"/*
  out=$(PATH=$work/bin:$PATH SLURM_JOB_ID=7 SLURM_JOB_NUM_NODES=2 bash "$work/spool/slurm_script" --tree "$tree" "$@" 2>&1)
  status=$?
}

test_script() {
  local out status
  job -n 4 generate -p "a b"
  contains "ranks through PMIx, over both hosts, unbound" \
    "srun --mpi=pmix --nodes=2 --ntasks=4 --ntasks-per-node=2 --distribution=block --overcommit --cpu-bind=none --kill-on-bad-exit=1" "$out"
  contains "the command" "build/release/onecopy generate -p a b" "$out"
  equal "done" 0 "$status"
  SLURM_ARRAY_TASK_ID=1 job --each 128,512 -n 2 bench -p {} --report r-{}.json
  contains "the value of this task" "bench -p 512 --report r-512.json" "$out"
  SRUN_STATUS=3 job -n 2 bench
  equal "the job's exit code is the ranks'" 3 "$status"
  SRUN_STATUS=137 job -n 2 bench
  equal "a killed rank is a failed rank" 5 "$status"
  lacks "that is not started again unasked" scontrol "$out"
  SRUN_SAYS="srun: error: host1: tasks 0-1: Terminated" SRUN_STATUS=143 job -n 2 bench
  equal "ended by Slurm's signal" 143 "$status"
  SRUN_SAYS=$'srun: error: host1: task 1: Killed\nsrun: error: host1: task 0: Terminated' SRUN_STATUS=143 job -n 2 bench
  equal "a killed rank is not that, though Slurm ends the others so" 5 "$status"
  contains "srun's messages pass" "host1: task 1: Killed" "$out"
  SRUN_STATUS=137 job --requeue-failed -n 2 bench
  contains "a failed rank goes back into the queue" "scontrol requeue 7" "$out"
  SRUN_STATUS=3 job --requeue-failed -n 2 bench
  lacks "a bad model does not" scontrol "$out"
  SLURM_RESTART_COUNT=3 SRUN_STATUS=5 job --requeue-failed -n 2 bench
  lacks "nor does what failed three times" scontrol "$out"
  job --launcher mpirun --dry-run -n 4 bench
  contains "or through mpirun" "mpirun -n 4 " "$out"
}

run_tests compose script "${1:-}"
