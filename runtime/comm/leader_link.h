// What the first ranks of the hosts ("leaders") do together, over MPI: the part of a collective that crosses
// hosts. Used by the leaders alone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "runtime/comm/mpi_call.h"
#include "runtime/comm/mpi_wait.h"

namespace onecopy::comm {

class LeaderLink {
 public:
  // leaders: a communicator of one rank a host. peers: the other hosts, for messages. check_trouble() throws when this
  // host cannot go on.
  LeaderLink(MpiHandle leaders, std::string peers, double deadline_seconds, double barrier_deadline_seconds,
             std::function<void()> check_trouble);
  ~LeaderLink();
  LeaderLink(const LeaderLink&) = delete;
  LeaderLink& operator=(const LeaderLink&) = delete;

  void Barrier();
  // x[i] becomes the sum over hosts, added in the order of the hosts on every host: after SumSteps(hosts) calls with
  // step 0, 1, … Between two of them x must stay as it is, and other sums may take their steps, at most kMaxUnderWay at
  // once, in one order on all hosts. Two hosts swap their terms; more swap slices of a long message, each sums its own,
  // and all gather.
  static constexpr size_t SumSteps(int hosts) { return hosts > 2 ? 3 : 2; }
  void SumStep(size_t step, float* x, size_t n) { Step(step, x, n); }
  void SumStep(size_t step, double* x, size_t n) { Step(step, x, n); }
  // Host h has filled `bytes[h]` bytes of x behind those of the hosts before; after steps 0 and 1 all have all.
  static constexpr size_t kGatherSteps = 2;
  void GatherStep(size_t step, uint8_t* x, const std::vector<int>& bytes);
  // Root's bytes on every leader. No deadline: this is where hosts idle.
  void Broadcast(std::vector<uint8_t>* bytes, int root);
  std::vector<std::vector<uint8_t>> AllGatherBytes(const std::vector<uint8_t>& bytes);

  double wait_seconds() const { return wait_.wait_seconds(); }

 private:
  static constexpr size_t kMaxUnderWay = 4;
  struct UnderWay;  // one sum or gather between its steps
  template <typename T>
  void Step(size_t step, T* x, size_t n);
  template <typename T>
  void StartSum(UnderWay* it, T* x, size_t n);
  template <typename T>
  void SumSlice(UnderWay* it, T* x, size_t n);
  UnderWay* Find(const void* x);
  void Await(UnderWay* it);

  MpiHandle leaders_;
  const std::string peers_;
  int rank_ = 0, size_ = 0;
  double deadline_seconds_, barrier_deadline_seconds_;
  MpiWait wait_;
  std::vector<std::unique_ptr<UnderWay>> under_way_;
};

}  // namespace onecopy::comm
