// What the first ranks of the hosts ("leaders") do together, over MPI: the part of a collective that crosses
// hosts. Used by the leaders alone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "runtime/comm/mpi_call.h"
#include "runtime/comm/mpi_wait.h"

namespace onecopy::comm {

class LeaderLink {
 public:
  // leaders: a communicator of one rank a host. check_trouble() throws when this host cannot go on.
  LeaderLink(MpiHandle leaders, double deadline_seconds, double barrier_deadline_seconds,
             std::function<void()> check_trouble);

  void Barrier();
  // x[i] becomes the sum over hosts, added in the order of the hosts on every host.
  void SumInHostOrder(float* x, size_t n) { Sum(x, n); }
  void SumInHostOrder(double* x, size_t n) { Sum(x, n); }
  // Root's bytes on every leader. No deadline: this is where hosts idle.
  void Broadcast(std::vector<uint8_t>* bytes, int root);
  std::vector<std::vector<uint8_t>> AllGatherBytes(const std::vector<uint8_t>& bytes);

  double wait_seconds() const { return wait_.wait_seconds(); }

 private:
  template <typename T>
  void Sum(T* x, size_t n);

  MpiHandle leaders_;
  int size_ = 0;
  double deadline_seconds_, barrier_deadline_seconds_;
  MpiWait wait_;
  std::vector<double> terms_;  // of floats or doubles
};

}  // namespace onecopy::comm
