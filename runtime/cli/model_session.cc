#include "runtime/cli/model_session.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>

#include "kernels/registry.h"
#include "runtime/base/file.h"
#include "runtime/base/log.h"
#include "runtime/base/progress.h"
#include "runtime/model/model_spec.h"
#include "runtime/numa/residency.h"
#include "runtime/report/run_report.h"
#include "runtime/shard/fit.h"
#include "runtime/shard/loader.h"

namespace onecopy::cli {
namespace {

std::vector<uint8_t> Serialize(const google::protobuf::MessageLite& message) {
  std::vector<uint8_t> bytes(message.ByteSizeLong());
  message.SerializeToArray(bytes.data(), static_cast<int>(bytes.size()));
  return bytes;
}

uint64_t PeakBytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<uint64_t>(usage.ru_maxrss) * 1024;
}

}  // namespace

const kernels::KernelTable& ChooseKernels() {
  const char* forced = std::getenv("ONECOPY_KERNELS");
  std::string error;
  const kernels::KernelTable* table = kernels::SelectTable(forced ? forced : "", &error);
  if (!table) Fail(ErrorCode::kUsage, "{}", error);
  return *table;
}

ModelSession::ModelSession(comm::Communicator& comm, const ModelOptions& options, const Prepare& prepare)
    : comm_(comm), options_(options) {
  Stage("reading the model's headers", [&] { ReadHeaders(prepare); });
  ShareHeaders();
  Stage("planning", [&] {
    table_ = &ChooseKernels();
    plan_ = shard::MakeShardPlan(spec_, *table_, {.ranks = comm_.size(), .shares = {}});
  });
  Stage("binding", [&] { Bind(); });
  CheckFit();
  Load();
  Stage("making the KV cache", [&] {
    engine_.emplace(comm_, spec_, plan_, *store_, *table_, *team_, placement_.node ? placement_.node->id : -1,
                    engine_options_);
  });
  MakeReport();
}

void ModelSession::Stage(const char* name, const std::function<void()>& body) {
  comm_.SetStage(name);
  std::optional<Error> error;
  try {
    body();
  } catch (const comm::CommError&) {
    throw;  // the ranks cannot agree any more
  } catch (const Error& e) {
    error = e;
  } catch (const std::bad_alloc&) {
    error = Error(ErrorCode::kNoMemory, fmt::format("out of memory while {}", name));
  }
  comm_.Agree(name, error ? &*error : nullptr);
}

void ModelSession::ReadHeaders(const Prepare& prepare) {
  if (!leads()) return;
  checkpoint_ = OpenCheckpoint(ResolveModelPath(options_.model));
  spec_ = BuildModelSpec(*checkpoint_);
  engine_options_ = exec::DefaultEngineOptions(spec_.context_length());
  prepare(*checkpoint_, spec_, &engine_options_);
  const uint64_t needed = engine_options_.kv_tokens();
  if (needed > spec_.context_length())
    Fail(ErrorCode::kUsage,
         "{} tokens (prompt and new ones) do not fit the model's context of {}; shorten the prompt "
         "or ask for fewer tokens",
         needed, spec_.context_length());
  if (options_.context == 0) return;
  if (options_.context < needed)
    Fail(ErrorCode::kUsage, "--context {} is too small for {} tokens (prompt and new ones)", options_.context,
         needed);
  if (options_.context > spec_.context_length())
    Fail(ErrorCode::kUsage, "--context {} is above the {} positions that the model was trained for",
         options_.context, spec_.context_length());
  engine_options_.set_kv_tokens(options_.context);
}

// Rank 0 alone reads headers, so that each byte of a file is read once.
void ModelSession::ShareHeaders() {
  std::vector<uint8_t> bytes = leads() ? Serialize(spec_) : std::vector<uint8_t>();
  comm_.Broadcast(&bytes, 0);
  if (!leads() && !spec_.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())))
    Fail(ErrorCode::kInternal,
         "rank {} cannot read the model spec of rank 0; do all ranks run the same onecopy?", comm_.rank());
  bytes = Serialize(engine_options_);
  comm_.Broadcast(&bytes, 0);
  engine_options_.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
}

void ModelSession::Bind() {
  topology_ = numa::ReadTopology();
  placement_ = Place(topology_, WishFromEnvironment(), comm_.rank_on_host(), comm_.ranks_on_host());
  if (placement_.node)
    numa::BindProcess(*placement_.node, placement_.cpus, /*bind_memory=*/topology_.sysfs_numa);
  team_.emplace(placement_.threads, placement_.pin_threads ? placement_.cpus : std::vector<int>());
}

void ModelSession::CheckFit() {
  Stage("checking that the model fits", [&] {
    proto::RankNeeds mine =
        shard::NeedsOf(spec_, plan_, comm_.rank(),
                       {engine_options_.kv_tokens(), engine_options_.chunk_tokens(), comm_.ranks_on_host()});
    mine.set_host(topology_.host);
    mine.set_node(placement_.node_id);
    uint64_t host_available = 0;
    for (const numa::Node& node : topology_.nodes) {
      if (node.id == placement_.node_id) mine.set_node_available(node.free_bytes);
      if (node.memory_allowed) host_available += node.free_bytes;
    }
    mine.set_host_available(std::min(host_available, topology_.cgroup_limit_bytes));
    std::vector<proto::RankNeeds> ranks;
    for (const auto& bytes : comm_.AllGatherBytes(Serialize(mine))) {
      ranks.emplace_back();
      ranks.back().ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
    }
    if (const std::string why = shard::WhyNotFit(ranks); !why.empty()) Fail(ErrorCode::kNoMemory, "{}", why);
  });
}

void ModelSession::Load() {
  Stage("allocating the weights", [&] {
    store_.emplace(spec_, plan_, *table_, comm_.rank(), placement_.node ? placement_.node->id : -1);
  });
  Progress bar("loading");
  const shard::LoadStats stats = shard::LoadWeights(
      comm_, spec_, plan_, *store_, [&](uint64_t done, uint64_t total) { bar.Update(done, total); });
  bar.Finish();
  bytes_read_ = stats.bytes_read;
  load_seconds_ = stats.seconds;
}

void ModelSession::MakeReport() {
  comm_.SetStage("auditing");
  proto::RankReport mine;
  Stage("auditing where the pages are", [&] {
    const auto residency = numa::AuditResidency(store_->arena().data(), store_->arena().bytes());
    mine.set_rank(comm_.rank());
    mine.set_host(topology_.host);
    mine.set_node(placement_.node_id);
    mine.set_threads(placement_.threads);
    mine.set_weight_bytes(store_->matrix_bytes());
    mine.set_replicated_bytes(plan_.replicated_bytes());
    mine.set_kv_bytes(engine_->kv_bytes());
    mine.set_arena_bytes(residency.resident_bytes);
    mine.set_huge_page_bytes(residency.huge_bytes);
    mine.set_pages_on_node(placement_.node_id < 0 ? 1.0 : residency.ShareOn(placement_.node_id));
    mine.set_bytes_read(bytes_read_);
    mine.set_load_seconds(load_seconds_);
    mine.set_peak_bytes(PeakBytes());
    constexpr double kLeastShare = 0.999;
    if (placement_.node && mine.pages_on_node() < kLeastShare)
      Fail(ErrorCode::kCommunication,
           "only {:.2f} % of the weights of rank {} lie on NUMA node {} of host {}; expected at least 99.9 "
           "%; free "
           "memory on that node or use fewer ranks on it",
           100 * mine.pages_on_node(), comm_.rank(), placement_.node->id, topology_.host);
  });
  uint64_t resident = 0;
  for (const auto& bytes : comm_.AllGatherBytes(Serialize(mine))) {
    auto* rank = report_.add_ranks();
    rank->ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
    // Whole pages: what lies in them beyond the weights is rounding, not a copy.
    resident += std::min(rank->arena_bytes(), rank->weight_bytes());
  }
  report_.set_weight_bytes(plan_.weight_bytes());
  report_.set_replicated_bytes(plan_.replicated_bytes());
  report_.set_model(spec_.name());
  report_.set_kernels(table_->name);
  for (uint64_t bytes : spec_.file_bytes()) report_.set_file_bytes(report_.file_bytes() + bytes);
  report_.set_copies_in_memory(static_cast<double>(resident) / static_cast<double>(plan_.weight_bytes()));
}

void ModelSession::Run(const std::function<void(exec::Engine&)>& body) {
  comm_.SetStage("running");
  try {
    if (leads()) {
      if (!options_.report.empty()) WriteFile(options_.report, report::ReportJson(report_));
      body(*engine_);
    } else {
      engine_->Serve();
    }
  } catch (const comm::CommError&) {
    throw;
  } catch (const Error& e) {
    // Between steps rank 0 may fail alone: its engine's destructor lets the others go. In the middle of a step they
    // wait for this rank, and must be told.
    if (comm_.size() == 1 || (leads() && engine_->healthy())) throw;
    comm_.Abandon(e.what());
    throw comm::CommError(comm_.rank(), e.what());
  }
  engine_.reset();  // lets the other ranks leave
}

}  // namespace onecopy::cli
