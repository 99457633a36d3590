// The collectives as MPI has them, on the communicator of all ranks: CommOptions::Collectives::kMpi, and
// set-up, before there is a window. Waits are MPI's: they spin, and end with the job when mpirun notices a
// death.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "runtime/comm/mpi_call.h"
#include "runtime/comm/mpi_wait.h"

namespace onecopy::comm::plain {

void Barrier(MpiHandle world);
// MPI_Allreduce: the order of the sum is MPI's (recursive doubling, ring, …, by size and number of ranks).
void AllReduceSum(MpiHandle world, std::span<float> x);
void AllReduceSum(MpiHandle world, std::span<double> x);
void AllGatherColumns(MpiHandle world, float* x, size_t n_rows, std::span<const uint32_t> bounds);
void Broadcast(MpiHandle world, std::vector<uint8_t>* bytes, int root);
std::vector<std::vector<uint8_t>> AllGatherBytes(MpiHandle world, const std::vector<uint8_t>& bytes);

// From rank to rank, in pieces that MPI can count; these waits are ours.
void Send(MpiHandle world, std::span<const uint8_t> bytes, int to, MpiWait* wait, double deadline_seconds);
void Receive(MpiHandle world, std::span<uint8_t> bytes, int from, MpiWait* wait, double deadline_seconds);

}  // namespace onecopy::comm::plain
