# shellcheck shell=bash
# shellcheck disable=SC2154  # here and program are of launch/onecopy
# launch/onecopy submit: composes the call of sbatch for slurm.sbatch, and runs it. Also what runs ranks inside of a Slurm
# job (--launcher srun). Part of launch/onecopy, which sources it.

submit_usage() {
  show_help <<'TEXT'
Usage: launch/onecopy submit [--nodes N] [--time T] [--partition P] [--account A] [--exclusive | --cpus-per-task C]
                             [--mem M] [--array V1,V2,... ] [--requeue] [--drain S] [--name NAME] [--output FILE]
                             [--script FILE] [--wait] [--dry-run] [LAUNCH OPTIONS] COMMAND ...

Submits a job to Slurm that runs COMMAND with one rank on each NUMA node of each of its hosts, by the job script
slurm.sbatch. Whatever it or sbatch knows besides can be set in a copy of yours (--script), or in SBATCH_... variables.
  --nodes N            hosts (default 1)
  --time T             time limit: minutes, or 1:00:00
  --partition P, --account A
  --exclusive          whole hosts with all of their memory (default)
  --cpus-per-task C    C CPUs of each host instead; nothing outside of them is used where Slurm confines jobs (task/cgroup)
  --mem M              memory of each host, as 64G (default: all with --exclusive, the cluster's default otherwise)
  --array V1,V2,...    one job for each value, in place of {} in COMMAND; V1,V2,...%L: at most L at a time
  --requeue            back into the queue when a host is lost or a rank fails (at most 3 times)
  --drain S            SIGTERM to the ranks S seconds before the time limit (default 60): a server finishes its requests
  --name NAME          of the job (default onecopy)
  --output FILE        for results; messages go to FILE.err (default onecopy-JOB.out, onecopy-JOB.err)
  --script FILE        job script (default: the one that comes with onecopy)
  --wait               wait for the end of the job; its exit code is then this one's
  --dry-run            print the call of sbatch instead
Launch options, for inside of the job: -n, --threads, --bind, --ranks-per, --memory-nodes, --launcher srun|mpirun.

Examples:
  launch/onecopy submit --nodes 2 --time 1:00:00 generate -m MODEL -p "Once upon a time"
  launch/onecopy submit --array 128,512,2048 --time 30 bench -m MODEL -p {} --json
A job that is to finish what it serves: scancel --signal=TERM JOB. Plain scancel ends it now.
TEXT
}

submit() {
  local nodes=1 requeue='' drain=60 output='' only_show='' wait_end='' array='' cpus='' memory='' exclusive='' limit='' file job_script=$here/slurm.sbatch
  local -a sbatch=(sbatch) script=(--tree "$(dirname "$here")") options=() values=()
  while (($# > 0)); do
    case $1 in
      -h | --help) submit_usage && exit 0 ;;
      --dry-run) only_show=yes && shift && continue ;;
      --wait) wait_end=yes && shift && continue ;;
      --exclusive) exclusive=yes && shift && continue ;;
      --requeue) requeue=yes && shift && continue ;;
      --*=*) set -- "${1%%=*}" "${1#*=}" "${@:2}" && continue ;;
      -n?*) set -- -n "${1#-n}" "${@:2}" && continue ;;
      -*) (($# > 1)) || usage_error "option $1 needs a value" ;;
      *) break ;;
    esac
    case $1 in
      --nodes) positive "$1" "$2" && nodes=$2 ;;
      --time) [[ $2 =~ ^[0-9:-]+$ ]] || usage_error "--time $2: expected minutes, or 1:00:00"; sbatch+=("--time=$2") ;;
      --partition | --account) sbatch+=("$1=$2") ;;
      --name) sbatch+=("--job-name=$2") ;;
      --cpus-per-task) positive "$1" "$2" && cpus=$2 ;;
      --mem) memory=$2 ;;
      --array) array=$2 ;;
      --drain) positive "$1" "$2" && drain=$2 ;;
      --output) output=$2 ;;
      --script) [[ -r $2 ]] || usage_error "--script $2: cannot be read"; job_script=$2 ;;
      -n | --threads | --bind | --ranks-per | --memory-nodes | --launcher) options+=("$1" "$2") ;;
      *) usage_error "submit: unknown option $1; see $program submit --help" ;;
    esac
    shift 2
  done
  local launcher command  # set by parse_options
  parse_options "${options[@]}" "$@"  # what is wrong with them is said now, not in the queue
  sbatch+=("--nodes=$nodes")
  [[ -z $exclusive || -z $cpus ]] || usage_error "--exclusive and --cpus-per-task exclude each other"
  if [[ -n $cpus ]]; then sbatch+=("--cpus-per-task=$cpus"); fi
  if [[ -z $cpus && (-z $memory || -n $exclusive) ]]; then sbatch+=(--exclusive) && memory=${memory:-0}; fi
  if [[ -n $memory ]]; then sbatch+=("--mem=$memory"); fi
  # With mpirun the signal has to come to the script, for ranks that Slurm does not know.
  if [[ $launcher == mpirun && " ${options[*]} " == *" --launcher "* ]]; then
    sbatch+=("--signal=B:TERM@$drain")
  else
    sbatch+=("--signal=TERM@$drain")
  fi
  if [[ -n $requeue ]]; then sbatch+=(--requeue) && script+=(--requeue-failed); fi
  if [[ -n $array ]]; then
    if [[ $array == *%* ]]; then limit=%${array##*%} array=${array%\%*}; fi
    [[ $limit =~ ^(%[1-9][0-9]*)?$ && $array != *, ]] || usage_error "--array $array$limit: expected V1,V2,... or V1,V2,...%LIMIT"
    [[ " ${command[*]} " == *"{}"* ]] || usage_error "--array needs {} in the command, where its values go"
    IFS=, read -r -a values <<<"$array"
    sbatch+=("--array=0-$((${#values[@]} - 1))$limit") && script+=(--each "$array")
    file=${output:-onecopy-%A_%a.out}
  else
    file=$output
  fi
  if [[ -n $file ]]; then sbatch+=("--output=$file" "--error=${file%.out}.err"); fi
  [[ -z $wait_end ]] || sbatch+=(--wait)
  sbatch+=("$job_script" "${script[@]}" "${options[@]}" "${command[@]}")
  if [[ -n $only_show ]]; then
    quoted "${sbatch[@]}"
    exit 0
  fi
  if ! command -v sbatch >/dev/null; then
    echo "onecopy: sbatch is not in PATH: this host does not submit to a Slurm cluster. Run $program on one that" \
      "does, or without submit; $here/README.md says how under PBS and LSF" >&2
    exit 5
  fi
  local status=0
  "${sbatch[@]}" || status=$?
  if [[ $status == 1 ]]; then
    echo "onecopy: sbatch did not take the job, for the reason above; without a Slurm cluster, run without submit" >&2
    status=5
  fi
  exit "$status"
}

# note_failures FILE: passes stderr on, and makes FILE when srun says that a task ended otherwise than well or by SIGTERM.
note_failures() {
  trap '' INT TERM
  local line
  while IFS= read -r line || [[ -n $line ]]; do
    printf '%s\n' "$line"
    if [[ $line =~ ^srun:\ error:\ .*tasks?\ [0-9,-]+:\ (.*) && ${BASH_REMATCH[1]} != Terminated* ]]; then : >"$1"; fi
    line=''
  done
}

# run_srun WORDS...: runs srun to its end and exits with the code of the ranks.
run_srun() {
  local pid status signal='' folder filter filter_fd
  folder=$(mktemp -d "${TMPDIR:-/tmp}/onecopy-run-XXXXXXXX")
  # shellcheck disable=SC2064  # the folder of now
  trap "rm -rf $(quoted "$folder")" EXIT
  exec {filter_fd}> >(note_failures "$folder/failed" >&2)
  filter=$!
  "$@" <&0 2>&"$filter_fd" {filter_fd}>&- &
  pid=$!
  exec {filter_fd}>&-
  # srun passes SIGTERM on to the ranks. Ctrl-C at a terminal would only make it ask for another.
  trap 'signal=130; kill -TERM "$pid" 2>/dev/null || true' INT
  trap 'signal=143; kill -TERM "$pid" 2>/dev/null || true' TERM
  while true; do
    status=0
    wait "$pid" || status=$?
    kill -0 "$pid" 2>/dev/null || break
  done
  while kill -0 "$filter" 2>/dev/null; do sleep 0.02; done
  if [[ -n $signal ]]; then exit "$signal"; fi
  # The code is the greatest of all tasks. When one is killed Slurm ends the others by SIGTERM, 143; without such a one
  # it is Slurm's signal before the time limit.
  if [[ $status == 143 && ! -e $folder/failed ]]; then exit 143; fi
  case $status in
    0 | 2 | 3 | 4 | 5 | 130) exit "$status" ;;
    *) echo "onecopy: srun ended with code $status: the lines above say what became of which rank; one that was Killed" \
      "has usually found the memory short" >&2 && exit 5 ;;
  esac
}
