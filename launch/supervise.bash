# shellcheck shell=bash
# shellcheck disable=SC2154  # here and program are of launch/onecopy
# Watches over one mpirun for launch/onecopy, which sources it: hides the notices of Open MPI that say nothing new, ends
# everything on a signal or when a host is lost, leaves neither processes nor files.

# shellcheck source=launch/folders.bash
source "${BASH_SOURCE[0]%/*}/folders.bash"
# shellcheck source=launch/host_watch.bash
source "${BASH_SOURCE[0]%/*}/host_watch.bash"

# filter_notices [FILE [PID]]: passes stderr on as it comes, without those of Open MPI's notices that repeat what onecopy's
# own message says. Notices stand between lines of dashes. A partial line (a progress display) is passed on after a tenth of
# a second. Makes FILE, unless that is empty, when Open MPI has lost a host; sends SIGUSR1 to PID when a rank has failed,
# after which mpirun should end.
filter_notices() {
  trap '' INT TERM HUP
  local line rest status at_start=yes notice=''
  local -r rule='--------------------------------------------------------------------------'
  local -r repeats="^(Primary job +terminated normally|(mpirun|prterun) detected that one or more processes exited|MPI_ABORT was|mpirun noticed that process rank .*on signal 15 |A system call failed during shared memory .*unlink\\(2\\))"
  local -r failures="^((mpirun|prterun) (detected that one or more processes exited|noticed that process rank)|MPI_ABORT was)"
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
      if [[ $notice =~ lost\ communication\ with.*daemon.*Remote\ daemon:[^$'\n']*on\ node\ ([^$'\n']+) ]]; then
        [[ -z ${1:-} ]] || : >"$1"
        say_lost "${BASH_REMATCH[1]}"
      elif [[ $notice =~ unable\ to\ reliably\ start\ one\ or\ more\ daemons ]]; then
        say_unreached
      elif [[ ! ${notice#*$'\n'} =~ $repeats ]]; then
        printf '%s%s\n' "$notice" "$line"
      fi
      [[ ! ${notice#*$'\n'} =~ $failures || -z ${2:-} ]] || kill -USR1 "$2" 2>/dev/null || true
      notice=''
    elif [[ -n $notice || ($at_start == yes && $line == "$rule") ]]; then
      notice+=$line$'\n'
    else
      # What mpirun logs when a rank that aborts is gone before its notice is read.
      # A harmless race of starting several daemons is the second, and the third says how often notices were repeated: those
      # of a rank that ends while mpirun cleans up (unlink) are.
      [[ $line == *ORTE_ERROR_LOG:*show_help.c* || $line == *plm:rsh:\ Warning:\ setpgid* ||
        $line == *help-opal-shmem-mmap.txt* || $line == *orte_base_help_aggregate* ]] || printf '%s\n' "$line"
      at_start=yes
    fi
  done
  printf '%s' "$notice"
}

say_lost() {
  printf 'onecopy: host %s was lost: no sign of life from it for 5 s; the job ends. Is it up, and its network?\n' "$1"
}
say_unreached() {
  echo "onecopy: Open MPI could not start its daemon on another host, which the lines before this may name: it must be" \
    "reached by ssh without a password, have the same Open MPI in the PATH of such a shell, and this tree at the same" \
    "path; see $program --help"
}

# pass_on FILE PID: stdout to stdout. Where that cannot be written, as on a disk that is full, makes FILE, sends SIGUSR1 to
# PID and takes the rest, for mpirun would throw it away and say nothing.
pass_on() {
  trap '' INT TERM HUP
  if cat 2>/dev/null; then return; fi
  : >"$1"
  kill -USR1 "$2" 2>/dev/null || true
  cat >/dev/null
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

# What the user or the system sent, and how often; job_pid is mpirun's while it runs.
signal='' times=0 job_pid=''
on_signal() {
  # In a conversation Ctrl-C ends an answer, or the conversation, and a server finishes what it has begun: rank 0 knows, and
  # the others wait for it.
  if [[ $1 == INT && ${command[0]:-} =~ ^(chat|serve)$ && -n $job_pid ]] && signal_ranks INT "$job_pid"; then return; fi
  signal=$1
  ((++times))
  [[ -n $job_pid ]] || return 0
  # mpirun ends the ranks when told once. Told twice it runs away and leaves them, hence a session of its own, where
  # only this process sends signals, and our own end for the impatient.
  if ((times > 1)); then
    kill_session "$job_pid"
  elif [[ $signal != TERM ]] || ! signal_ranks TERM "$job_pid"; then
    kill -TERM "$job_pid" 2>/dev/null || true
  fi
}

# signal_ranks SIGNAL SESSION: to the ranks of this host. TERM: they may want to finish what they do (a server its
# requests); from mpirun they would get it with SIGKILL 5 s later. The job ends when they do. False where there are none.
signal_ranks() {
  local pid name found=''
  for pid in $(session_members "$2"); do
    { IFS= read -r name <"/proc/$pid/comm"; } 2>/dev/null || continue
    if [[ $name == onecopy ]]; then kill -"$1" "$pid" 2>/dev/null && found=yes; fi
  done
  [[ -n $found ]]
}

readonly LOST=9
# end_when_silent PID FILE: ends mpirun and its ranks when another host has gone silent while Open MPI was sending to it,
# for then it would wait for a quarter of an hour, or when FILE is there and mpirun has not ended by itself. Exits with
# LOST if it did; SIGTERM ends the watch, with any other code.
end_when_silent() {
  trap 'kill $! 2>/dev/null || true; exit 0' TERM  # between two sleeps there is nothing to kill, which is no failure
  await_silence "$1" "$2" || exit 0
  trap '' TERM
  [[ -z $peer || -e $2 ]] || say_lost "$(host_name "$peer")" >&2
  # Not with SIGTERM: mpirun would tell the silent host, and wait. Daemons elsewhere end when it is gone.
  kill_session "$1"
  exit "$LOST"
}

# end_mpirun PID: after the failure of a rank mpirun ends within seconds, unless the rank died while it was connecting:
# then Open MPI 4.1 sometimes waits for ever, for a lock of its own.
end_mpirun() {
  local deadline=$((SECONDS + 6))
  while kill -0 "$1" 2>/dev/null && ((SECONDS < deadline)); do sleep 0.1; done
  if kill -0 "$1" 2>/dev/null; then kill_session "$1"; fi
}

# supervise ONE_HOST MPIRUN ARGUMENTS...: runs it to its end, sets status to its exit code and reason to how a rank failed,
# where one did. ONE_HOST: empty where other hosts take part; they get folders of the same names.
supervise() {
  local one_host=$1
  shift
  local ending='' folder='' lost='' unwritten='' left='' input_pid='' output_pid='' watch_pid=''
  local filter_pid filter_fd input_fd output_fd deadline shm=/dev/shm tmp=${TMPDIR:-/tmp}
  local -a folders=() locks=() places=() guard=()
  reason=''
  # Whatever Open MPI leaves behind when it is killed lies in folders of our own.
  [[ -d $shm && -w $shm ]] || shm=$tmp
  sweep "$shm" "$tmp"
  make_folder "$shm" && folders+=("$folder") && places+=(--mca osc_sm_backing_directory "$folder"
    --mca btl_vader_backing_directory "$folder" --mca btl_sm_backing_directory "$folder")
  make_folder "$tmp" && folders+=("$folder") && places+=(--mca orte_tmpdir_base "$folder")
  # shellcheck disable=SC2064  # the folders' names of now
  ((${#folders[@]} == 0)) || trap "rm -rf $(quoted "${folders[@]}")" EXIT
  # shellcheck disable=SC2154  # set by compose
  # The ranks' own exit code, of which mpirun sometimes makes another.
  [[ -z $folder ]] || places+=(-x "ONECOPY_EXIT_CODE=$folder/code")
  if [[ -z $one_host && $open_mpi_version -lt 5 ]]; then
    # Open MPI passes the words through a shell on the other host.
    places+=(--mca orte_launch_agent "$(quoted "$here/host_daemon" "${folders[@]}" --)")
  fi
  # Without its watcher mpirun shall not live on.
  if command -v setpriv >/dev/null; then guard=(setpriv --pdeathsig TERM); fi

  [[ -n $one_host ]] || lost=$folder/lost
  trap 'ending=yes' USR1
  exec {filter_fd}> >(filter_notices "$lost" $$ >&2)
  filter_pid=$!
  # A terminal is never full, and whoever reads a pipe may leave.
  exec {output_fd}>&1
  if [[ -f /dev/stdout || /dev/stdout -ef /dev/full ]]; then
    unwritten=$folder/unwritten
    exec {output_fd}> >(pass_on "$unwritten" $$)
    output_pid=$!
  fi
  if [[ -t 0 ]]; then
    # Open MPI reads a terminal only from its foreground group, which a session of its own is not.
    exec {input_fd}< <(trap '' INT && exec cat)  # Ctrl-C is for us
    input_pid=$!
  else
    exec {input_fd}<&0
  fi
  trap 'on_signal INT' INT
  trap 'on_signal TERM' TERM
  trap 'on_signal HUP' HUP
  setsid "${guard[@]}" "$1" "${places[@]}" "${@:2}" <&"$input_fd" >&"$output_fd" 2>&"$filter_fd" {filter_fd}>&- {output_fd}>&- &
  job_pid=$!
  if [[ -z $one_host ]]; then
    end_when_silent "$job_pid" "$lost" </dev/null {filter_fd}>&- {output_fd}>&- {input_fd}<&- &
    watch_pid=$!
  fi
  exec {filter_fd}>&- {output_fd}>&- {input_fd}<&-
  # wait returns early, with more than 128, for each signal that a trap has handled.
  while true; do
    status=0
    { wait "$job_pid" || status=$?; } 2>/dev/null  # where bash reports that mpirun was killed; so do we
    kill -0 "$job_pid" 2>/dev/null || break
    [[ -z $ending ]] || end_mpirun "$job_pid"
  done
  trap '' USR1  # no later wait shall return early by it
  # Where a signal ended the last wait just when mpirun ended too, its own status is still to be asked for; 127: it is known.
  if ((status > 128)); then
    local again=0
    { wait "$job_pid" || again=$?; } 2>/dev/null
    ((again == 127)) || status=$again
  fi
  kill_session "$job_pid"
  job_pid=''
  [[ -z $input_pid ]] || kill "$input_pid" 2>/dev/null || true
  if [[ -n $watch_pid ]]; then
    kill "$watch_pid" 2>/dev/null || true
    local watched=0
    wait "$watch_pid" || watched=$?
    if ((watched == LOST)); then status=5 reason="a host was lost"; fi
  fi
  [[ -z $lost || ! -e $lost ]] || reason="a host was lost"
  # The filter ends when the last writer has; a process that left the session could keep it for ever.
  deadline=$((SECONDS + 3))
  while { kill -0 "$filter_pid" || [[ -n $output_pid ]] && kill -0 "$output_pid"; } 2>/dev/null && ((SECONDS < deadline)); do
    sleep 0.02
  done
  [[ -z $unwritten || ! -e $unwritten ]] || unwritten=yes
  [[ -z $folder || ! -s $folder/code ]] || left=$(<"$folder/code")
  for deadline in "${locks[@]}"; do exec {deadline}>&-; done
  rm -rf "${folders[@]}"
  trap - EXIT
  # Of a signal that ended a rank, and of a host that is lost, only mpirun and the watch know.
  if [[ $left =~ ^[0-9]+$ && $status -lt 128 && -z $reason ]]; then status=$left; fi
  if [[ $unwritten == yes ]]; then
    status=2
    echo "onecopy: standard output cannot be written: is its disk full? The job was ended" >&2
    return
  fi
  judge
}

# judge: makes mpirun's status one of our exit codes, and sets reason.
judge() {
  if [[ -n $signal ]]; then
    if [[ $signal == TERM && $status == 0 ]]; then return; fi  # they have finished what they did
    set_status_of_signal
    return
  fi
  if ((status > 128 && status < 160 && status != 130)); then
    local cause=''
    case $((status - 128)) in
      7) cause="; usually /dev/shm became full: see df /dev/shm, and what other programs left there" ;;
      9) cause="; usually the kernel was short of memory: see dmesg, and $program plan" ;;
    esac
    reason="a rank was ended by signal $((status - 128)) ($(kill -l $((status - 128)) 2>/dev/null || echo unknown))"
    echo "onecopy: $reason$cause" >&2
  fi
  # Other codes than ours are those of mpirun, which has said what is wrong: a host lost, or not reached.
  if [[ ! $status =~ ^(0|2|3|4|5|130)$ ]]; then
    if [[ -z $reason ]]; then
      reason="a rank or the communication failed (mpirun ended with $status)"
      echo "onecopy: $reason" >&2
    fi
    status=5
  fi
  if [[ $status != 5 ]]; then return; fi
  reason=${reason:-a rank or the communication failed}
  say_limits >&2
}

# say_limits: what a shell may have set too low for Open MPI, which then ends without saying why, or crashes.
say_limits() {
  local space files
  space=$(ulimit -v) files=$(ulimit -n)
  [[ $space == unlimited ]] ||
    echo "onecopy: address space is limited to $space kB here, which may be why;" \
      "a rank takes 1 GB beside its weights: ulimit -v unlimited"
  if [[ $files != unlimited ]] && ((files < 256)); then
    echo "onecopy: open files are limited to $files here, which may be why; mpirun takes some for every rank: ulimit -n 1024"
  fi
}

set_status_of_signal() {
  case $signal in
    INT) status=130 ;;
    TERM) status=143 ;;
    HUP) status=129 ;;
  esac
}

# How long a job has run well for its failure to count as the first one.
readonly GOOD_SECONDS=600

# next_delay SECONDS: sets num_restarts and delay, the seconds to wait before the next start of a job that ran for that long.
next_delay() {
  if (($1 >= GOOD_SECONDS)); then num_restarts=0; fi
  delay=$((num_restarts < 6 ? 1 << num_restarts : 60))
  ((++num_restarts))
}

# supervise_again RESTARTS ONE_HOST MPIRUN ARGUMENTS...: runs it, and after a failure again, at most RESTARTS times in a row.
supervise_again() {
  local most=$1 num_restarts=0 delay=0 start sleeper
  shift
  while true; do
    start=$SECONDS
    supervise "$@"
    if [[ $status != 5 || $most == 0 ]]; then return; fi
    next_delay $((SECONDS - start))
    if ((num_restarts > most)); then
      echo "onecopy: given up after $most restart(s): $reason" >&2
      return
    fi
    echo "onecopy: restart $num_restarts of $most in $delay s: $reason" >&2
    sleep "$delay" >/dev/null 2>&1 &
    sleeper=$!
    wait "$sleeper" || true  # a signal ends the wait
    if [[ -n $signal ]]; then
      kill "$sleeper" 2>/dev/null || true
      set_status_of_signal
      return
    fi
  done
}
