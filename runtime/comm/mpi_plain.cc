// One MPI call per collective where MPI has one; columns are packed and unpacked around MPI_Allgatherv.
#include "runtime/comm/mpi_plain.h"

#include <mpi.h>

#include <algorithm>
#include <climits>
#include <cstring>

#include "runtime/base/check.h"

namespace onecopy::comm::plain {
namespace {

int SizeOf(MPI_Comm comm) {
  int size;
  MPI_Comm_size(comm, &size);
  return size;
}

int RankIn(MPI_Comm comm) {
  int rank;
  MPI_Comm_rank(comm, &rank);
  return rank;
}

// Counts to offsets and their total. MPI counts in int.
std::vector<int> Offsets(const std::vector<int>& counts, size_t* total) {
  std::vector<int> offsets;
  *total = 0;
  for (const int count : counts) {
    offsets.push_back(static_cast<int>(*total));
    *total += static_cast<size_t>(count);
    if (*total > INT_MAX) Fail(ErrorCode::kInternal, "one MPI gather of more than 2^31 elements");
  }
  return offsets;
}

template <typename T>
void SumInPlace(MpiHandle world, std::span<T> x, MPI_Datatype type) {
  constexpr size_t kPiece = size_t{1} << 28;
  for (size_t from = 0; from < x.size(); from += kPiece) {
    const int n = static_cast<int>(std::min(kPiece, x.size() - from));
    CheckMpi(MPI_Allreduce(MPI_IN_PLACE, x.data() + from, n, type, MPI_SUM, MPI_Comm_f2c(world)),
             "MPI_Allreduce");
  }
}

}  // namespace

void Barrier(MpiHandle world) {
  CheckMpi(MPI_Barrier(MPI_Comm_f2c(world)), "MPI_Barrier");
}

void AllReduceSum(MpiHandle world, std::span<float> x) {
  SumInPlace(world, x, MPI_FLOAT);
}
void AllReduceSum(MpiHandle world, std::span<double> x) {
  SumInPlace(world, x, MPI_DOUBLE);
}

void AllGatherColumns(MpiHandle world, float* x, size_t n_rows, std::span<const uint32_t> bounds) {
  const MPI_Comm comm = MPI_Comm_f2c(world);
  const int ranks = SizeOf(comm), rank = RankIn(comm);
  ONECOPY_CHECK(bounds.size() == static_cast<size_t>(ranks) + 1);
  const size_t stride = bounds.back();
  const auto width = [&](int r) { return size_t{bounds[r + 1]} - bounds[r]; };
  std::vector<int> counts;
  for (int r = 0; r < ranks; ++r) counts.push_back(static_cast<int>(width(r) * n_rows));
  size_t total;
  const std::vector<int> offsets = Offsets(counts, &total);

  std::vector<float> mine(counts[rank]), all(total);
  for (size_t row = 0; row < n_rows; ++row) {
    std::copy_n(x + row * stride + bounds[rank], width(rank), mine.data() + row * width(rank));
  }
  CheckMpi(MPI_Allgatherv(mine.data(), counts[rank], MPI_FLOAT, all.data(), counts.data(), offsets.data(),
                          MPI_FLOAT, comm),
           "MPI_Allgatherv");
  for (int r = 0; r < ranks; ++r) {
    for (size_t row = 0; row < n_rows; ++row) {
      std::copy_n(all.data() + offsets[r] + row * width(r), width(r), x + row * stride + bounds[r]);
    }
  }
}

void Broadcast(MpiHandle world, std::vector<uint8_t>* bytes, int root) {
  constexpr size_t kPiece = size_t{1} << 30;
  const MPI_Comm comm = MPI_Comm_f2c(world);
  uint64_t n = bytes->size();
  CheckMpi(MPI_Bcast(&n, sizeof(n), MPI_BYTE, root, comm), "MPI_Bcast");
  bytes->resize(n);
  for (size_t from = 0; from < n; from += kPiece) {
    const int piece = static_cast<int>(std::min<size_t>(kPiece, n - from));
    CheckMpi(MPI_Bcast(bytes->data() + from, piece, MPI_BYTE, root, comm), "MPI_Bcast");
  }
}

std::vector<std::vector<uint8_t>> AllGatherBytes(MpiHandle world, const std::vector<uint8_t>& bytes) {
  const MPI_Comm comm = MPI_Comm_f2c(world);
  const int ranks = SizeOf(comm);
  if (bytes.size() > INT_MAX)
    Fail(ErrorCode::kInternal, "one rank gathers {} bytes, more than 2 GB", bytes.size());
  const int mine = static_cast<int>(bytes.size());
  std::vector<int> counts(ranks);
  CheckMpi(MPI_Allgather(&mine, 1, MPI_INT, counts.data(), 1, MPI_INT, comm), "MPI_Allgather");
  size_t total;
  const std::vector<int> offsets = Offsets(counts, &total);
  std::vector<uint8_t> all(total);
  CheckMpi(
      MPI_Allgatherv(bytes.data(), mine, MPI_BYTE, all.data(), counts.data(), offsets.data(), MPI_BYTE, comm),
      "MPI_Allgatherv");
  std::vector<std::vector<uint8_t>> by_rank(ranks);
  for (int r = 0; r < ranks; ++r)
    by_rank[r].assign(all.begin() + offsets[r], all.begin() + offsets[r] + counts[r]);
  return by_rank;
}

namespace {

// start(first byte, bytes, request) for each piece.
template <typename Start>
void InPieces(size_t n, const char* call, int peer, MpiWait* wait, double deadline_seconds, Start start) {
  constexpr size_t kPiece = size_t{1} << 28;
  const std::string who = fmt::format("rank {}", peer);
  for (size_t from = 0; from < n; from += kPiece) {
    MPI_Request request;
    CheckMpi(start(from, static_cast<int>(std::min(kPiece, n - from)), &request), call);
    wait->Await(&request, call, who.c_str(), deadline_seconds);
  }
}

}  // namespace

void Send(MpiHandle world, std::span<const uint8_t> bytes, int to, MpiWait* wait, double deadline_seconds) {
  InPieces(bytes.size(), "MPI_Isend", to, wait, deadline_seconds,
           [&](size_t at, int n, MPI_Request* request) {
             return MPI_Isend(bytes.data() + at, n, MPI_BYTE, to, 0, MPI_Comm_f2c(world), request);
           });
}

void Receive(MpiHandle world, std::span<uint8_t> bytes, int from, MpiWait* wait, double deadline_seconds) {
  InPieces(bytes.size(), "MPI_Irecv", from, wait, deadline_seconds,
           [&](size_t at, int n, MPI_Request* request) {
             return MPI_Irecv(bytes.data() + at, n, MPI_BYTE, from, 0, MPI_Comm_f2c(world), request);
           });
}

}  // namespace onecopy::comm::plain
