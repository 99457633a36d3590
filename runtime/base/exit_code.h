// The exit code of a rank, also left for launch/onecopy in the file that ONECOPY_EXIT_CODE names. Open MPI 4.1 does not
// always pass it on: a process whose files are closed but whose memory is still being given back counts as ended by
// itself, with a code of mpirun's own (its pull request 2694 tells of that race).
#pragma once

namespace onecopy {

// Does nothing for 0, where no file is asked for, or where another rank has left one: the first that fails knows why.
// Never fails; mpirun's code is the job's where this could not be written.
void LeaveExitCode(int code);

}  // namespace onecopy
