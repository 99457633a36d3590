# shellcheck shell=bash
# Watches over one mpirun for launch/onecopy, which sources it: hides the notices of Open MPI that say nothing new, ends
# everything on a signal, leaves neither processes nor files.

# Passes stderr on as it comes, without those of Open MPI's notices that repeat what onecopy's own message says. Notices
# stand between lines of dashes. A partial line (a progress display) is passed on after a tenth of a second.
filter_notices() {
  trap '' INT TERM HUP
  local line rest status at_start=yes notice=''
  local -r rule='--------------------------------------------------------------------------'
  local -r repeats="^(Primary job +terminated normally|(mpirun|prterun) detected that one or more processes exited|MPI_ABORT was)"
  # The first character is waited for without a limit, so that an idle server causes no wake-ups.
  while IFS= read -r -N 1 line; do
    status=0 rest=''
    [[ $line == $'\n' ]] || IFS= read -r -t 0.1 rest || status=$?
    line=${line%$'\n'}$rest
    if ((status > 128)) && [[ -n $notice || ($at_start == yes && $rule == "$line"*) ]]; then
      IFS= read -r rest || true  # part of a notice: wait for the whole line
      line+=$rest status=0
    fi
    if ((status > 0)); then
      printf '%s' "$line"
      at_start=''
    elif [[ -n $notice && $line == "$rule" ]]; then
      [[ ${notice#*$'\n'} =~ $repeats ]] || printf '%s%s\n' "$notice" "$line"
      notice=''
    elif [[ -n $notice || ($at_start == yes && $line == "$rule") ]]; then
      notice+=$line$'\n'
    else
      # What mpirun logs when a rank that aborts is gone before its notice is read.
      [[ $line == *ORTE_ERROR_LOG:*show_help.c* ]] || printf '%s\n' "$line"
      at_start=yes
    fi
  done
  printf '%s' "$notice"
}

# The processes of mpirun's session: it and the ranks of this host, whatever has become of it.
session_members() {
  local stat line
  for stat in /proc/[0-9]*/stat; do
    { IFS= read -r line <"$stat"; } 2>/dev/null || continue
    local -a field
    read -r -a field <<<"${line##*) }"  # after the name, which may hold anything: state ppid pgrp session
    if [[ ${field[3]:-} == "$1" && ${field[0]} != Z ]]; then
      line=${stat#/proc/}
      echo "${line%/stat}"
    fi
  done
}

kill_session() {
  local pid
  for pid in $(session_members "$1"); do kill -KILL "$pid" 2>/dev/null || true; done
}

# Folders of runs that were killed before they could remove them. Their lock tells: it lives as long as any process of
# the run. Those of the last minute may be about to be locked.
sweep() {
  local lock
  while IFS= read -r lock; do
    if flock --nonblock "$lock" true 2>/dev/null; then rm -rf "${lock%/lock}"; fi
  done < <(find "$@" -maxdepth 2 -user "$EUID" -path '*/onecopy-run-*/lock' -mmin +1 2>/dev/null)
}

# make_folder PARENT: sets folder to a new one in it, locked by a file descriptor that mpirun inherits.
make_folder() {
  local lock
  folder=$(mktemp -d "$1/onecopy-run-XXXXXXXX") || return 1
  exec {lock}>"$folder/lock"
  flock "$lock"
}

# Set while mpirun runs: signal is what the user or system sent, times how often.
signal='' times=0
on_signal() {
  signal=$1
  ((++times))
  # mpirun ends the ranks when told once. Told twice it runs away and leaves them, hence a session of its own, where
  # only this process sends signals, and our own end for the impatient.
  if ((times == 1)); then kill -TERM "$job_pid" 2>/dev/null || true; else kill_session "$job_pid"; fi
}

# supervise ONE_HOST MPIRUN ARGUMENTS...: runs it to its end and exits with its code. ONE_HOST: empty where other hosts
# take part, whose folders are not ours to make.
supervise() {
  local one_host=$1
  shift
  local status=0 folder='' input_pid='' filter_pid filter_fd input_fd deadline shm=/dev/shm tmp=${TMPDIR:-/tmp}
  local -a folders=() places=() guard=()
  if [[ -n $one_host ]]; then
    # Whatever Open MPI leaves behind when it is killed lies in folders of our own.
    [[ -d $shm && -w $shm ]] || shm=$tmp
    sweep "$shm" "$tmp"
    make_folder "$shm" && folders+=("$folder") && places+=(--mca osc_sm_backing_directory "$folder"
      --mca btl_vader_backing_directory "$folder" --mca btl_sm_backing_directory "$folder")
    make_folder "$tmp" && folders+=("$folder") && places+=(--mca orte_tmpdir_base "$folder")
  fi
  # shellcheck disable=SC2064  # the folders' names of now
  ((${#folders[@]} == 0)) || trap "rm -rf $(quoted "${folders[@]}")" EXIT
  # Without its watcher mpirun shall not live on.
  if command -v setpriv >/dev/null; then guard=(setpriv --pdeathsig TERM); fi

  exec {filter_fd}> >(filter_notices >&2)
  filter_pid=$!
  if [[ -t 0 ]]; then
    # Open MPI reads a terminal only from its foreground group, which a session of its own is not.
    exec {input_fd}< <(exec cat)
    input_pid=$!
  else
    exec {input_fd}<&0
  fi
  trap 'on_signal INT' INT
  trap 'on_signal TERM' TERM
  trap 'on_signal HUP' HUP
  setsid "${guard[@]}" "$1" "${places[@]}" "${@:2}" <&"$input_fd" 2>&"$filter_fd" {filter_fd}>&- &
  job_pid=$!
  exec {filter_fd}>&- {input_fd}<&-
  # wait returns early, with more than 128, for each signal that a trap has handled.
  while true; do
    status=0
    { wait "$job_pid" || status=$?; } 2>/dev/null  # where bash reports that mpirun was killed; so do we
    kill -0 "$job_pid" 2>/dev/null || break
  done
  trap '' INT TERM HUP
  kill_session "$job_pid"
  [[ -z $input_pid ]] || kill "$input_pid" 2>/dev/null || true
  # The filter ends when the last writer has; a process that left the session could keep it for ever.
  deadline=$((SECONDS + 3))
  while kill -0 "$filter_pid" 2>/dev/null && ((SECONDS < deadline)); do sleep 0.02; done
  case $signal in
    INT) status=130 ;;
    TERM) status=143 ;;
    HUP) status=129 ;;
    *)
      if ((status > 128 && status != 130)); then
        echo "onecopy: a rank was ended by signal $((status - 128)) ($(kill -l $((status - 128)) 2>/dev/null ||
          echo unknown)); signal 9 is usually the kernel short of memory: see dmesg, and launch/onecopy plan" >&2
        status=5
      fi
      ;;
  esac
  exit "$status"
}
