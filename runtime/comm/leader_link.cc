// Nonblocking MPI collectives, so that a wait can be given up. The sum is a gather and an ordered loop rather
// than MPI_Iallreduce, whose order is MPI's own from three hosts on: hosts are few and a decode message is
// some 20 KB.
#include "runtime/comm/leader_link.h"

#include <mpi.h>

#include <algorithm>
#include <climits>
#include <cstring>

#include "runtime/base/check.h"
#include "runtime/comm/communicator.h"
#include "runtime/comm/rank_order_sum.h"

namespace onecopy::comm {
namespace {

// MPI counts in int; pieces also bound what the gather of the sum needs.
constexpr size_t kMaxPieceBytes = size_t{1} << 30;
constexpr size_t kSumPieceBytes = 4 << 20;
constexpr const char* kPeers = "the other hosts";

}  // namespace

LeaderLink::LeaderLink(MpiHandle leaders, double deadline_seconds, double barrier_deadline_seconds,
                       std::function<void()> check_trouble)
    : leaders_(leaders),
      deadline_seconds_(deadline_seconds),
      barrier_deadline_seconds_(barrier_deadline_seconds),
      wait_(std::move(check_trouble)) {
  MPI_Comm_size(MPI_Comm_f2c(leaders_), &size_);
}

void LeaderLink::Barrier() {
  MPI_Request request;
  CheckMpi(MPI_Ibarrier(MPI_Comm_f2c(leaders_), &request), "MPI_Ibarrier between hosts");
  wait_.Await(&request, "MPI_Ibarrier between hosts", kPeers, barrier_deadline_seconds_);
}

template <typename T>
void LeaderLink::Sum(T* x, size_t n) {
  constexpr size_t kPiece = kSumPieceBytes / sizeof(T);
  constexpr const char* kCall = "MPI_Iallgather between hosts";
  for (size_t from = 0; from < n; from += kPiece) {
    const size_t piece = std::min(kPiece, n - from);
    terms_.resize((piece * size_ * sizeof(T) + sizeof(double) - 1) / sizeof(double));
    auto* terms = reinterpret_cast<T*>(terms_.data());
    MPI_Request request;
    const int count = static_cast<int>(piece * sizeof(T));
    CheckMpi(
        MPI_Iallgather(x + from, count, MPI_BYTE, terms, count, MPI_BYTE, MPI_Comm_f2c(leaders_), &request),
        kCall);
    wait_.Await(&request, kCall, kPeers, deadline_seconds_);
    std::vector<const T*> by_host;
    for (int h = 0; h < size_; ++h) by_host.push_back(terms + h * piece);
    SumInRankOrder(x + from, by_host, piece);
  }
}
template void LeaderLink::Sum(float* x, size_t n);
template void LeaderLink::Sum(double* x, size_t n);

void LeaderLink::Broadcast(std::vector<uint8_t>* bytes, int root) {
  constexpr const char* kCall = "MPI_Ibcast between hosts";
  const auto send = [&](void* data, size_t n) {
    MPI_Request request;
    CheckMpi(MPI_Ibcast(data, static_cast<int>(n), MPI_BYTE, root, MPI_Comm_f2c(leaders_), &request), kCall);
    wait_.Await(&request, kCall, kPeers, kNoDeadline);
  };
  uint64_t n = bytes->size();
  send(&n, sizeof(n));
  bytes->resize(n);
  for (size_t from = 0; from < n; from += kMaxPieceBytes)
    send(bytes->data() + from, std::min(kMaxPieceBytes, n - from));
}

std::vector<std::vector<uint8_t>> LeaderLink::AllGatherBytes(const std::vector<uint8_t>& bytes) {
  constexpr const char* kCall = "MPI_Iallgatherv between hosts";
  std::vector<uint64_t> sizes(size_);
  const uint64_t mine = bytes.size();
  MPI_Request request;
  CheckMpi(MPI_Iallgather(&mine, sizeof(mine), MPI_BYTE, sizes.data(), sizeof(mine), MPI_BYTE,
                          MPI_Comm_f2c(leaders_), &request),
           kCall);
  wait_.Await(&request, kCall, kPeers, deadline_seconds_);
  std::vector<int> counts(size_), offsets(size_);
  uint64_t total = 0;
  for (int h = 0; h < size_; ++h) {
    offsets[h] = static_cast<int>(total);
    total += sizes[h];
    // Offsets in int: what ranks gather are reports and rows of activations, far from this.
    if (total > INT_MAX)
      Fail(ErrorCode::kInternal, "hosts gather {} bytes in one call, more than 2 GB", total);
    counts[h] = static_cast<int>(sizes[h]);
  }
  std::vector<uint8_t> all(total);
  CheckMpi(MPI_Iallgatherv(bytes.data(), static_cast<int>(mine), MPI_BYTE, all.data(), counts.data(),
                           offsets.data(), MPI_BYTE, MPI_Comm_f2c(leaders_), &request),
           kCall);
  wait_.Await(&request, kCall, kPeers, deadline_seconds_);
  std::vector<std::vector<uint8_t>> by_host(size_);
  for (int h = 0; h < size_; ++h)
    by_host[h].assign(all.begin() + offsets[h], all.begin() + offsets[h] + counts[h]);
  return by_host;
}

}  // namespace onecopy::comm
