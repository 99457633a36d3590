// The collectives over per-rank regions of shared memory, independent of how that memory came about: MPI
// windows between processes, plain memory between threads. Long messages go in pieces of the window's size.
//
// Belongs to one thread of its rank at a time; all ranks call the same operations in the same order with the
// same sizes. Errors: CommError, see shm_sync.h. All results are the same bits on every rank.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "runtime/comm/shm_sync.h"

namespace onecopy::comm {

class ShmCollectives {
 public:
  // As ShmSync. options.window_bytes is the same on all ranks, a multiple of 128.
  ShmCollectives(int rank, std::vector<uint8_t*> regions, const ShmOptions& options);

  int rank() const { return sync_.rank(); }
  int size() const { return sync_.size(); }

  void Barrier();
  // See Communicator for the meaning of each.
  void AllReduceSum(std::span<float> x) { ReduceSum(x); }
  void AllReduceSum(std::span<double> x) { ReduceSum(x); }
  void AllGatherColumns(float* x, size_t n_rows, std::span<const uint32_t> bounds);
  void Broadcast(std::vector<uint8_t>* bytes, int root);
  std::vector<std::vector<uint8_t>> AllGatherBytes(const std::vector<uint8_t>& bytes);
  // `n` bytes of root's `data` to the others' `data`; every rank knows n.
  void BroadcastInto(void* data, size_t n, int root);

  ShmSync& sync() { return sync_; }
  const ShmSync& sync() const { return sync_; }

 private:
  // T: float or double.
  template <typename T>
  void ReduceSum(std::span<T> x);
  // x: n elements of any alignment, at most a window.
  template <typename T>
  void ReduceInOnePhase(uint8_t* x, size_t n);
  template <typename T>
  void ReduceInTwoPhases(uint8_t* x, size_t n);
  // Every rank's published message, plus `offset` elements.
  template <typename T>
  std::vector<const T*> Inputs(size_t offset) const;

  ShmSync sync_;
  const size_t window_bytes_;
  const double barrier_deadline_seconds_;
};

}  // namespace onecopy::comm
