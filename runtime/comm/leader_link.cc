// Nonblocking MPI collectives, so that a wait can be given up and work goes on beside them. Sums are gathers and ordered
// loops rather than MPI_Iallreduce, whose order is MPI's own from three hosts on.
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

// MPI counts in int.
constexpr size_t kMaxPieceBytes = size_t{1} << 30;
// Below, the second message costs more than sending everything to all.
constexpr size_t kLeastSlicedBytes = 32 << 10;

}  // namespace

LeaderLink::LeaderLink(MpiHandle leaders, std::string peers, double deadline_seconds,
                       double barrier_deadline_seconds, std::function<void()> check_trouble)
    : leaders_(leaders),
      peers_(std::move(peers)),
      deadline_seconds_(deadline_seconds),
      barrier_deadline_seconds_(barrier_deadline_seconds),
      wait_(std::move(check_trouble)) {
  MPI_Comm_size(MPI_Comm_f2c(leaders_), &size_);
  MPI_Comm_rank(MPI_Comm_f2c(leaders_), &rank_);
}

void LeaderLink::Barrier() {
  MPI_Request request;
  CheckMpi(MPI_Ibarrier(MPI_Comm_f2c(leaders_), &request), "MPI_Ibarrier between hosts");
  wait_.Await(&request, "MPI_Ibarrier between hosts", peers_.c_str(), barrier_deadline_seconds_);
}

// MPI_Wait of a request is never called: peers may be gone.
struct LeaderLink::UnderWay {
  const void* x = nullptr;  // null: free
  MPI_Request request = MPI_REQUEST_NULL;
  const char* call = nullptr;
  bool in_slices = false;
  std::vector<double> terms;        // of any type; kept, so that a step of the model allocates nothing
  std::vector<int> bytes, offsets;  // by host
  std::vector<int> receive_bytes, receive_offsets;  // of the slices of all hosts that this one sums

  template <typename T>
  T* TermsOf(size_t n) {
    terms.resize((n * sizeof(T) + sizeof(double) - 1) / sizeof(double));
    return reinterpret_cast<T*>(terms.data());
  }
  // Of slices of n elements, one a host.
  template <typename T>
  void SetSlices(size_t n, int hosts) {
    bytes.clear();
    offsets.clear();
    for (int h = 0; h < hosts; ++h) {
      offsets.push_back(static_cast<int>(n * h / hosts * sizeof(T)));
      bytes.push_back(static_cast<int>(n * (h + 1) / hosts * sizeof(T)) - offsets.back());
    }
  }
};

LeaderLink::~LeaderLink() = default;

LeaderLink::UnderWay* LeaderLink::Find(const void* x) {
  for (const auto& it : under_way_)
    if (it->x == x) return it.get();
  ONECOPY_CHECK(x == nullptr && under_way_.size() < kMaxUnderWay);
  under_way_.push_back(std::make_unique<UnderWay>());
  return under_way_.back().get();
}

void LeaderLink::Await(UnderWay* it) {
  wait_.Await(&it->request, it->call, peers_.c_str(), deadline_seconds_);
}

template <typename T>
void LeaderLink::Step(size_t step, T* x, size_t n) {
  if (n == 0) return;
  UnderWay* it = Find(step == 0 ? nullptr : x);
  if (step == 0) return StartSum(it, x, n);
  if (step == 1 && size_ > 2 && !it->in_slices) return;  // on its way
  if (step == 1 && it->in_slices) return SumSlice(it, x, n);
  Await(it);
  if (!it->in_slices) {
    std::vector<const T*> by_host;
    for (int h = 0; h < size_; ++h) by_host.push_back(it->TermsOf<T>(n * size_) + h * n);
    SumInRankOrder(x, by_host, 0, n);
  }
  it->x = nullptr;
}

template <typename T>
void LeaderLink::StartSum(UnderWay* it, T* x, size_t n) {
  it->x = x;
  it->in_slices = size_ > 2 && n * sizeof(T) >= kLeastSlicedBytes;
  const MPI_Comm comm = MPI_Comm_f2c(leaders_);
  if (!it->in_slices) {
    it->call = "MPI_Iallgather between hosts";
    const int bytes = static_cast<int>(n * sizeof(T));
    CheckMpi(
        MPI_Iallgather(x, bytes, MPI_BYTE, it->TermsOf<T>(n * size_), bytes, MPI_BYTE, comm, &it->request),
        it->call);
    return;
  }
  it->call = "MPI_Ialltoallv between hosts";
  it->SetSlices<T>(n, size_);
  const int mine = it->bytes[rank_];
  std::vector<int>& counts = it->receive_bytes;
  std::vector<int>& at = it->receive_offsets;
  counts.assign(size_, mine);
  at.clear();
  for (int h = 0; h < size_; ++h) at.push_back(h * mine);
  CheckMpi(MPI_Ialltoallv(x, it->bytes.data(), it->offsets.data(), MPI_BYTE,
                          it->TermsOf<T>(static_cast<size_t>(mine) / sizeof(T) * size_), counts.data(),
                          at.data(), MPI_BYTE, comm, &it->request),
           it->call);
}

// The slices of all hosts are here: sums this host's and sends it to all.
template <typename T>
void LeaderLink::SumSlice(UnderWay* it, T* x, size_t n) {
  Await(it);
  const size_t length = static_cast<size_t>(it->bytes[rank_]) / sizeof(T);
  std::vector<const T*> by_host;
  for (int h = 0; h < size_; ++h) by_host.push_back(it->TermsOf<T>(length * size_) + h * length);
  SumInRankOrder(x + n * rank_ / size_, by_host, 0, length);
  it->call = "MPI_Iallgatherv between hosts";
  CheckMpi(MPI_Iallgatherv(MPI_IN_PLACE, 0, MPI_BYTE, x, it->bytes.data(), it->offsets.data(), MPI_BYTE,
                           MPI_Comm_f2c(leaders_), &it->request),
           it->call);
}
template void LeaderLink::Step(size_t step, float* x, size_t n);
template void LeaderLink::Step(size_t step, double* x, size_t n);

void LeaderLink::GatherStep(size_t step, uint8_t* x, const std::vector<int>& bytes) {
  UnderWay* it = Find(step == 0 ? nullptr : x);
  if (step == 1) {
    Await(it);
    it->x = nullptr;
    return;
  }
  it->x = x;
  it->call = "MPI_Iallgatherv between hosts";
  it->bytes = bytes;
  it->offsets.assign(1, 0);
  for (const int n : bytes) it->offsets.push_back(it->offsets.back() + n);
  CheckMpi(MPI_Iallgatherv(MPI_IN_PLACE, 0, MPI_BYTE, x, it->bytes.data(), it->offsets.data(), MPI_BYTE,
                           MPI_Comm_f2c(leaders_), &it->request),
           it->call);
}

void LeaderLink::Broadcast(std::vector<uint8_t>* bytes, int root) {
  constexpr const char* kCall = "MPI_Ibcast between hosts";
  const auto send = [&](void* data, size_t n) {
    MPI_Request request;
    CheckMpi(MPI_Ibcast(data, static_cast<int>(n), MPI_BYTE, root, MPI_Comm_f2c(leaders_), &request), kCall);
    wait_.Await(&request, kCall, peers_.c_str(), kNoDeadline);
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
  wait_.Await(&request, kCall, peers_.c_str(), deadline_seconds_);
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
  wait_.Await(&request, kCall, peers_.c_str(), deadline_seconds_);
  std::vector<std::vector<uint8_t>> by_host(size_);
  for (int h = 0; h < size_; ++h)
    by_host[h].assign(all.begin() + offsets[h], all.begin() + offsets[h] + counts[h]);
  return by_host;
}

}  // namespace onecopy::comm
