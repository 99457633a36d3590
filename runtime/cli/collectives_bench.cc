#include "runtime/cli/collectives_bench.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <functional>
#include <memory>

#include "runtime/base/error.h"

namespace onecopy::cli {
namespace {

using comm::Algorithm;
using comm::Communicator;
using Clock = std::chrono::steady_clock;

constexpr size_t kRowColumns = 2048;  // most in a row: the hidden size of a model of 30B

// A table that leaves no choice.
comm::CollectivesTable Only(Algorithm algorithm, const Communicator& part) {
  return {{{part.size(), part.sockets(), SIZE_MAX, algorithm}}};
}

struct Variant {
  std::string name;
  std::function<void()> call;
  std::function<void()> prepare = [] {};  // before each call, not timed
  std::vector<float> took_us = {};
  int calls_per_round = 1;
  double pilot_us = 0;
};

// The ranks of one group, and what they reduce.
class Group {
 public:
  Group(Communicator& part, Communicator* mpi, Communicator* bf16, const comm::CollectivesTable& table,
        const Communicator::SharedBuffer& shared)
      : part_(part), mpi_(mpi), bf16_(bf16), table_(table), shared_(shared) {}

  CollectivesRow Measure(size_t bytes, double seconds) {
    floats_.assign(std::max<size_t>(1, bytes / sizeof(float)), 0.0f);
    const size_t elements = std::max<size_t>(1, bytes / sizeof(double));
    // Rows of one length that come to these bytes: 28 KiB are two of 1792.
    const size_t rows = (elements + kRowColumns - 1) / kRowColumns;
    columns_ = elements / rows;
    terms_.assign(rows * columns_, 0.0);
    residual_.assign(terms_.size(), 0.0f);
    copy_.resize(bytes);
    std::vector<Variant> variants = Variants(bytes);
    Pilot(&variants, seconds);
    const auto start = Clock::now();
    do {
      for (Variant& variant : variants) Round(&variant);
    } while (Decide(std::chrono::duration<double>(Clock::now() - start).count() < seconds &&
                    variants.front().took_us.size() < kMaxSamples));
    CollectivesRow row;
    row.ranks = part_.size();
    row.sockets = part_.sockets();
    row.bytes = bytes;
    row.choice = table_.Choose(bytes, row.ranks, row.sockets);
    for (Variant& variant : variants) row.latency[variant.name] = OfAllRanks(variant.took_us);
    return row;
  }

 private:
  static constexpr size_t kMaxSamples = 20'000;

  std::vector<Variant> Variants(size_t bytes) {
    std::vector<Variant> variants;
    const auto sum = [this](const comm::CollectivesTable& table) {
      return [this, table] { part_.AllReduceSum(floats_); };
    };
    const auto use = [this](const comm::CollectivesTable& table) {
      return [this, table] { part_.UseTable(table); };
    };
    for (const Algorithm algorithm : comm::kAlgorithms) {
      if (algorithm == Algorithm::kBySocket && part_.sockets() == 1) continue;
      const auto table = Only(algorithm, part_);
      variants.push_back({std::string(NameOf(algorithm)), sum(table), use(table)});
    }
    variants.push_back({"choice", sum(table_), use(table_)});
    if (mpi_ != nullptr) variants.push_back({"mpi", [this] { mpi_->AllReduceSum(floats_); }});
    const auto rows = [this](Communicator* comm) {
      return [this, comm] {
        comm->AllReduceRows(terms_, columns_, [this](size_t row, const double* sums) {
          float* x = residual_.data() + row * columns_;
          for (size_t i = 0; i < columns_; ++i) x[i] = static_cast<float>(x[i] + sums[i]);
        });
      };
    };
    variants.push_back({"rows", rows(&part_), use(table_)});
    if (mpi_ != nullptr) variants.push_back({"rows mpi", rows(mpi_)});
    if (bf16_ != nullptr && terms_.size() / columns_ >= comm::kLeastBf16Rows)
      variants.push_back({"rows bf16", rows(bf16_), [this] { bf16_->UseTable(table_); }});
    if (!shared_.part.empty()) {
      // The neighbour has just written what is copied, as in an all-reduce.
      const size_t me = static_cast<size_t>(part_.rank()),
                   next = (me + 1) % static_cast<size_t>(part_.size());
      variants.push_back({"copy",
                          [this, bytes, next] { std::memcpy(copy_.data(), shared_.part[next], bytes); },
                          [this, bytes, me] {
                            part_.Barrier();
                            std::memset(shared_.part[me], 1, bytes);
                            part_.Barrier();
                          }});
    }
    return variants;
  }

  void Round(Variant* variant) {
    part_.Barrier();
    for (int i = 0; i < variant->calls_per_round; ++i) {
      variant->prepare();
      const auto start = Clock::now();
      variant->call();
      variant->took_us.push_back(std::chrono::duration<float, std::micro>(Clock::now() - start).count());
    }
  }

  // How many calls of each a round has, so that every variant gets its turns within the time.
  void Pilot(std::vector<Variant>* variants, double seconds) {
    constexpr double kRounds = 20, kMaxCalls = 50;
    for (Variant& variant : *variants) {
      Round(&variant);  // first touches
      const auto start = Clock::now();
      Round(&variant);
      const double us = std::chrono::duration<double, std::micro>(Clock::now() - start).count();
      const double share_us = seconds * 1e6 / static_cast<double>(variants->size()) / kRounds;
      variant.calls_per_round =
          Decide(static_cast<int>(std::clamp(share_us / std::max(us, 1.0), 1.0, kMaxCalls)));
      variant.took_us.clear();
    }
  }

  // What rank 0 of the group says.
  int Decide(int value) {
    std::vector<uint8_t> bytes(sizeof(value));
    std::memcpy(bytes.data(), &value, sizeof(value));
    part_.Broadcast(&bytes, 0);
    std::memcpy(&value, bytes.data(), sizeof(value));
    return value;
  }

  Latency OfAllRanks(const std::vector<float>& mine) {
    std::vector<uint8_t> bytes(mine.size() * sizeof(float));
    std::memcpy(bytes.data(), mine.data(), bytes.size());
    std::vector<float> all;
    for (const auto& from : part_.AllGatherBytes(bytes)) {
      const size_t before = all.size();
      all.resize(before + from.size() / sizeof(float));
      std::memcpy(all.data() + before, from.data(), from.size());
    }
    std::sort(all.begin(), all.end());
    const auto quantile = [&](double q) {
      return static_cast<double>(all[static_cast<size_t>(q * static_cast<double>(all.size() - 1))]);
    };
    return {quantile(0.5), quantile(0.99), all.size()};
  }

  Communicator& part_;
  Communicator *mpi_, *bf16_;
  const comm::CollectivesTable& table_;
  const Communicator::SharedBuffer& shared_;
  std::vector<float> floats_, residual_;
  std::vector<double> terms_;
  std::vector<uint8_t> copy_;
  size_t columns_ = 1;
};

}  // namespace

std::vector<CollectivesRow> MeasureCollectives(Communicator& comm, const comm::CollectivesTable& table,
                                               const CollectivesPlan& plan) {
  std::unique_ptr<Communicator> mpi, bf16;
  if (comm::LaunchedByMpi()) {
    comm::CommOptions options;
    options.wire = comm::CommOptions::Wire::kBf16;
    bf16 = comm::MakeMpiCommunicator(options);
    options.collectives = comm::CommOptions::Collectives::kMpi;
    mpi = comm::MakeMpiCommunicator(options);
  }
  std::vector<CollectivesRow> rows;
  for (const int ranks : plan.ranks) {
    const int color = comm.rank() < ranks ? 0 : 1;
    const auto part = comm.Split(color);
    const auto mpi_part = mpi ? mpi->Split(color) : nullptr, bf16_part = bf16 ? bf16->Split(color) : nullptr;
    Communicator::SharedBuffer shared = {{}, 0};
    if (color == 0) {
      // Over several hosts there is no other rank's memory for some.
      const size_t most = *std::max_element(plan.bytes.begin(), plan.bytes.end());
      if (part->ranks_on_host() == part->size()) shared = part->AllocateShared(most);
      Group group(*part, mpi_part.get(), bf16_part.get(), table, shared);
      const double seconds = plan.seconds / static_cast<double>(plan.ranks.size() * plan.bytes.size());
      for (const size_t bytes : plan.bytes) {
        const CollectivesRow row = group.Measure(bytes, seconds);
        if (comm.rank() == 0) rows.push_back(row);
      }
    }
    comm.Barrier();
  }
  return rows;
}

comm::CollectivesTable TableOf(const std::vector<CollectivesRow>& rows) {
  comm::CollectivesTable table;
  for (const CollectivesRow& row : rows) {
    double least = 0;
    std::optional<Algorithm> best;
    for (const Algorithm algorithm : comm::kAlgorithms) {
      const auto it = row.latency.find(std::string(NameOf(algorithm)));
      if (it == row.latency.end() || (best && it->second.median_us >= least)) continue;
      best = algorithm;
      least = it->second.median_us;
    }
    if (!best) continue;
    auto& to = table.rows;
    if (!to.empty() && to.back().ranks == row.ranks && to.back().sockets == row.sockets &&
        to.back().algorithm == *best && to.back().up_to_bytes < row.bytes)
      to.back().up_to_bytes = row.bytes;
    else
      to.push_back({row.ranks, row.sockets, row.bytes, *best});
  }
  return table;
}

}  // namespace onecopy::cli
