# shellcheck shell=bash
# Notices that another host of a job has gone silent: power, cable or switch lost, so that no connection is closed.
# Used by supervise.bash, which watches mpirun, and by host_daemon, which watches Open MPI's daemon on other hosts.
#
# An idle connection is Open MPI's to check (keepalive_options). Where bytes are on their way, the kernel sends those
# again for a quarter of an hour instead of checking; how often it has done so in vain stands in /proc/net/tcp.

# After this many seconds without a sign of life a host is lost: the sum of time + interval x probes.
readonly KEEPALIVE=(time 2 intvl 1 probes 3)
# The fourth transmission in vain comes 3.2 s after the first, or later.
readonly LOST_TRANSMISSIONS=4

# What ssh does while it waits for the daemon that it has started: gives up after 8 s without a sign of life.
readonly SSH_OPTIONS="-o BatchMode=yes -o ConnectTimeout=10 -o ServerAliveInterval=2 -o ServerAliveCountMax=3"

# keepalive_options VERSION: sets options for mpirun of that version of Open MPI. What the user has set stays.
keepalive_options() {
  local i name option=--mca variable=OMPI_MCA
  # Open MPI 5 has the same parameters in PRRTE. Untested there.
  if (($1 >= 5)); then option=--prtemca variable=PRTE_MCA; fi
  options=()
  for ((i = 0; i < ${#KEEPALIVE[@]}; i += 2)); do
    name=oob_tcp_keepalive_${KEEPALIVE[i]}
    if ! printenv "${variable}_$name" >/dev/null; then options+=("$option" "$name" "${KEEPALIVE[i + 1]}"); fi
  done
  if [[ -z ${OMPI_MCA_plm_rsh_agent:-}${PRTE_MCA_plm_ssh_agent:-} && -z ${OMPI_MCA_plm_rsh_args:-}${PRTE_MCA_plm_ssh_args:-} ]]; then
    name=plm_rsh_args
    if (($1 >= 5)); then name=plm_ssh_args; fi
    options+=("$option" "$name" "$SSH_OPTIONS")
  fi
}

# silent_peer PID: sets peer to the address of a host that a connection of the process has sent to in vain, or ''.
silent_peer() {
  local table field links=''
  peer=''
  for table in /proc/net/tcp /proc/net/tcp6; do
    [[ -r $table ]] || continue
    while read -r -a field; do  # number local remote state queues timer retransmissions user probes inode
      if [[ ${field[3]} != 01 ]] || ((16#${field[6]} < LOST_TRANSMISSIONS)); then continue; fi
      [[ -n $links ]] || links=$(find "/proc/$1/fd" -lname 'socket:*' -printf '%l ' 2>/dev/null)
      [[ $links == *"socket:[${field[9]}]"* ]] || continue
      peer=${field[2]%:*}
      # IPv4, also inside IPv6: four bytes, last one first.
      if ((${#peer} == 8)) || [[ $peer == 0000000000000000FFFF0000* ]]; then
        peer=${peer: -8}
        peer=$((16#${peer:6:2})).$((16#${peer:4:2})).$((16#${peer:2:2})).$((16#${peer:0:2}))
      fi
      return
    done < <(tail -n +2 "$table")
  done
}

# host_name ADDRESS: its name where there is one.
host_name() {
  local name
  read -r _ name _ < <(getent hosts "$1" 2>/dev/null) || true
  echo "${name:-$1}"
}

# await_silence PID [FILE]: returns, with peer set, when a host that the process is connected to has gone silent, or with
# peer '' when FILE has been there for a second; fails when the process has ended.
await_silence() {
  local before='' marked=''
  while kill -0 "$1" 2>/dev/null; do
    sleep 1 >/dev/null 2>&1 &
    wait $! || true  # unlike sleep itself, this lets a trap act at once
    silent_peer "$1"
    if [[ -n $peer && $before == "$peer" ]]; then return 0; fi
    before=$peer  # silent at two looks, or it may be a moment's trouble
    if [[ -n $marked ]]; then return 0; fi
    if [[ -n ${2:-} && -e $2 ]]; then marked=yes; fi
  done
  return 1
}
