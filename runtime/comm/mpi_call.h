// Errors of MPI calls as exceptions, and handles without mpi.h: communicators pass between the files of this
// folder as their Fortran integers (MPI_Comm_c2f), which the standard makes valid in every implementation.
#pragma once

namespace onecopy::comm {

using MpiHandle = int;

// Throws CommError with MPI's own text unless `result` is MPI_SUCCESS. `call`: "MPI_Bcast between hosts".
void CheckMpi(int result, const char* call);

}  // namespace onecopy::comm
