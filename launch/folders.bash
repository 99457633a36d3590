# shellcheck shell=bash
# Folders for the files of Open MPI: they go with the job, also where it was killed. On this host (supervise.bash) and,
# under the same names, on the others (host_daemon).

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
  folder=$(mktemp -d "$1/onecopy-run-XXXXXXXX") && lock_folder "$folder"
}

# lock_folder FOLDER: for as long as a process that inherits the descriptor lives; appends it to locks.
lock_folder() {
  local lock
  exec {lock}>"$1/lock"
  flock "$lock"
  locks+=("$lock")
}
