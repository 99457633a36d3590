#include "runtime/cli/model_session.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "kernels/registry.h"
#include "runtime/base/current_error.h"
#include "runtime/base/file.h"
#include "runtime/base/log.h"
#include "runtime/base/progress.h"
#include "runtime/cli/pipeline_choice.h"
#include "runtime/cli/same_start.h"
#include "runtime/model/model_spec.h"
#include "runtime/numa/residency.h"
#include "runtime/numa/sysfs.h"
#include "runtime/report/machine.h"
#include "runtime/report/run_report.h"
#include "runtime/shard/fit.h"
#include "runtime/shard/pipeline.h"

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

// What this process can still take of the host's memory.
uint64_t HostAvailable(const numa::Topology& topology) {
  uint64_t bytes = 0;
  for (const numa::Node& node : topology.nodes)
    if (node.memory_allowed) bytes += node.free_bytes;
  return std::min(bytes, topology.cgroup_available_bytes);
}

// Memory without CPUs next to the rank that its owner has not opened to it.
uint64_t SpareBytes(const Seat& seat) {
  uint64_t bytes = 0;
  const auto add = [&](const std::vector<int>& nodes) {
    for (int node : nodes) bytes += seat.topology.Find(node)->free_bytes;
  };
  if (seat.wish.memory_nodes != numa::CpulessMemory::kAll) add(seat.placement.place->slow_memory);
  if (seat.wish.memory_nodes == numa::CpulessMemory::kNone) add(seat.placement.place->fast_memory);
  return bytes;
}

numa::NumaStat NumaStatOf(const Placement& placement) {
  numa::NumaStat sum;
  if (!placement.place) return sum;
  for (int node : placement.place->nodes) sum += numa::ReadNumaStat(node);
  return sum;
}

}  // namespace

const kernels::KernelTable& ChooseKernels() {
  const char* forced = std::getenv("ONECOPY_KERNELS");
  std::string error;
  const kernels::KernelTable* table = kernels::SelectTable(forced ? forced : "", &error);
  if (!table) Fail(ErrorCode::kUsage, "{}", error);
  return *table;
}

ModelSession::ModelSession(comm::Communicator& comm, const Seat& seat, const ModelOptions& options,
                           const Prepare& prepare)
    : comm_(comm),
      seat_(seat),
      options_(options),
      compute_(options.replicate ? *single_ : comm),
      numastat_before_(NumaStatOf(seat.placement)) {
  Stage("reading the model's headers", [&] { ReadHeaders(prepare); });
  ShareHeaders();
  RequireSameFiles(comm_, spec_, options_.distribute);
  Stage("starting threads", [&] { StartThreads(); });
  table_ = &CommonKernels(comm_, *table_);
  if (options_.quick_sums) table_ = &kernels::WithQuickSums(*table_);
  table_ = &kernels::WithCache(*table_, options_.kv_type);
  MakePlan();
  CheckFit();
  Load();
  Stage("making the KV cache", [&] {
    engine_.emplace(Groups(), spec_, plan_, *store_, *table_, *team_, &memory_, engine_options_);
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
  } catch (...) {
    error = CurrentError(name);
  }
  comm_.Agree(name, error ? &*error : nullptr);
}

void ModelSession::ReadHeaders(const Prepare& prepare) {
  if (!leads()) return;
  const std::string path = ResolveModelPath(options_.model);
  std::error_code ignored;
  if (options_.distribute && !std::filesystem::exists(path, ignored))
    Fail(ErrorCode::kBadInput,
         "{} does not exist on host {}, where rank 0 runs and reads its headers; --distribute helps other "
         "hosts only, "
         "so name one that has the model first in --hosts",
         path, seat_.topology.host);
  checkpoint_ = OpenCheckpoint(path);
  spec_ = SpecOf(*checkpoint_, options_.weights);
  RequireRunnable(spec_);
  engine_options_ = exec::DefaultEngineOptions(spec_.context_length());
  prepare(*checkpoint_, spec_, &engine_options_);
  // Over all sequences; a step that goes beyond one's context is refused by the engine.
  const uint64_t needed = engine_options_.kv_tokens();
  if (engine_options_.slots() == 1 && needed > spec_.context_length())
    Fail(ErrorCode::kUsage,
         "{} tokens (prompt and new ones) do not fit the model's context of {}; shorten the prompt "
         "or ask for fewer tokens",
         needed, spec_.context_length());
  if (options_.context == 0) return;
  if (options_.context < needed)
    Fail(ErrorCode::kUsage, "--context {} is too small for {} tokens (prompt and new ones)", options_.context,
         needed);
  if (engine_options_.slots() == 1 && options_.context > spec_.context_length())
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

void ModelSession::StartThreads() {
  const Placement& placement = seat_.placement;
  team_.emplace(placement.threads, placement.pin_threads ? placement.cpus : std::vector<int>());
  table_ = &ChooseKernels();
}

shard::RankMeans ModelSession::MyMeans() const {
  shard::RankMeans means;
  means.available_bytes = std::min(seat_.Homes(0).available(), HostAvailable(seat_.topology));
  if (options_.balance == shard::Balance::kBandwidth && options_.bandwidth.empty())
    means.read_bandwidth = report::MeasureReadBandwidth(team_->size(), ProbeBytes());
  return means;
}

// A bound rank that takes more than its node has is killed, so the probe takes a quarter at most.
uint64_t ModelSession::ProbeBytes(uint64_t wanted) const {
  const uint64_t free =
      std::min(seat_.Homes(0).available(),
               HostAvailable(seat_.topology) / static_cast<uint64_t>(comm_.ranks_on_host()));
  return std::min(wanted, free / 4);
}

// Every rank makes the same plan, from the same means of all ranks.
void ModelSession::MakePlan() {
  std::vector<shard::RankMeans> ranks;
  if (options_.balance != shard::Balance::kEven && !options_.replicate) {
    shard::RankMeans mine;
    Stage("measuring the ranks' memory", [&] { mine = MyMeans(); });
    std::vector<uint8_t> bytes(sizeof mine);
    std::memcpy(bytes.data(), &mine, sizeof mine);
    for (const auto& from : comm_.AllGatherBytes(bytes)) {
      ranks.emplace_back();
      std::memcpy(&ranks.back(), from.data(), sizeof mine);
    }
  }
  comm_.SetStage("choosing how hosts share the layers");
  std::vector<uint32_t> stages = ChooseStages(
      {comm_, options_, seat_.topology, spec_, *table_, *team_, ProbeBytes(), engine_options_.kv_tokens()});
  Stage("planning", [&] {
    std::vector<double> shares;
    if (!ranks.empty()) {
      if (!options_.bandwidth.empty()) {
        const auto given = ParseBandwidths(options_.bandwidth, comm_.size());
        for (size_t r = 0; r < ranks.size(); ++r) ranks[r].read_bandwidth = given[r];
      }
      shares = shard::SharesOf(options_.balance, ranks, shard::ReserveBytes(spec_, comm_.ranks_on_host()));
    }
    plan_ = shard::MakeShardPlan(spec_, *table_,
                                 {.ranks = compute_.size(),
                                  .shares = std::move(shares),
                                  .stage_ranks = std::move(stages),
                                  .kv_tokens = engine_options_.kv_tokens()});
  });
  RequireSamePlan(comm_, plan_);
  if (shard::NumStages(plan_) > 1) stage_ = compute_.Split(shard::StageOfRank(plan_, compute_.rank()));
}

void ModelSession::CheckFit() {
  Stage("checking that the model fits", [&] {
    proto::RankNeeds mine = shard::NeedsOf(spec_, plan_, compute_.rank(),
                                           {engine_options_.kv_tokens(), engine_options_.chunk_tokens(),
                                            comm_.ranks_on_host(), engine_options_.slots()});
    const Placement& placement = seat_.placement;
    mine.set_host(seat_.topology.host);
    mine.set_node(placement.node_id);
    mine.set_host_available(HostAvailable(seat_.topology));
    const numa::Homes homes = seat_.Homes(mine.workspace_bytes());
    uint64_t pools = 0;
    if (placement.place)
      for (int node : placement.place->nodes) pools += numa::FreePoolBytes(node, options_.memory.pages);
    mine.set_host_available(mine.host_available() + pools);
    mine.set_node_available(placement.place && seat_.topology.sysfs_numa
                                ? homes.available() * static_cast<uint64_t>(placement.sharers) + pools
                                : mine.host_available());
    if (placement.place) mine.set_spare_available(SpareBytes(seat_));
    memory_ = numa::ArenaSource(homes, options_.memory);
    std::vector<proto::RankNeeds> ranks;
    for (const auto& bytes : comm_.AllGatherBytes(Serialize(mine))) {
      ranks.emplace_back();
      ranks.back().ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
    }
    if (const std::string why = shard::WhyNotFit(ranks, options_.replicate); !why.empty())
      Fail(ErrorCode::kNoMemory, "{}", why);
  });
}

void ModelSession::Load() {
  Stage("allocating the weights", [&] { store_.emplace(spec_, plan_, *table_, compute_.rank(), &memory_); });
  Progress bar("loading");
  loaded_ = shard::LoadWeights(comm_, spec_, plan_, *store_, compute_.rank(),
                               {.distribute = options_.distribute,
                                .stamps = checkpoint_ ? &checkpoint_->file_stamps : nullptr,
                                .progress = [&](uint64_t done, uint64_t total) { bar.Update(done, total); }});
  bar.Finish();
}

// Asks the kernel where this rank's memory lies. Less than 99.9 % in place is an error, not a warning.
void ModelSession::Audit(proto::RankReport* mine) const {
  const Placement& placement = seat_.placement;
  const numa::Residency weights = numa::AuditArena(store_->arena());
  numa::Residency all = weights;
  all.Add(numa::AuditArena(store_->vector_arena()));
  all.Add(numa::AuditArena(engine_->kv_arena()));
  all.Add(numa::AuditArena(engine_->state_arena()));
  mine->set_arena_bytes(weights.resident_bytes);
  mine->set_huge_page_bytes(all.huge_bytes);
  for (const auto& [node, bytes] : all.node_bytes) {
    proto::NodeBytes* on = mine->add_node_bytes();
    on->set_node(node);
    on->set_bytes(bytes);
  }
  mine->set_pages_on_node(all.ShareInPlace());
  numa::Residency windows;
  for (const auto part : comm_.OwnSharedMemory()) windows.Add(numa::AuditResidency(part.data(), part.size()));
  double window_share = 1;
  if (placement.place && seat_.topology.sysfs_numa && windows.resident_bytes > 0) {
    window_share = 0;
    for (int node : placement.place->nodes) window_share += windows.ShareOn(node);
  }
  mine->set_window_on_node(window_share);
  constexpr double kLeastShare = 0.999;
  if (placement.place && mine->pages_on_node() < kLeastShare)
    Fail(ErrorCode::kCommunication,
         "only {:.2f} % of the weights of rank {} lie on NUMA node {} of host {}; expected at least 99.9 %; "
         "free "
         "memory on that node or use fewer ranks on it",
         100 * mine->pages_on_node(), comm_.rank(), numa::FormatIdList(placement.place->nodes),
         seat_.topology.host);
}

proto::RankReport ModelSession::MyReport() const {
  const Placement& placement = seat_.placement;
  proto::RankReport mine;
  mine.set_rank(comm_.rank());
  mine.set_host(seat_.topology.host);
  mine.set_node(placement.node_id);
  if (placement.place) {
    mine.mutable_nodes()->Add(placement.place->nodes.begin(), placement.place->nodes.end());
    std::vector<int> cpus = placement.cpus;
    std::sort(cpus.begin(), cpus.end());
    mine.set_cpus(numa::FormatIdList(cpus));
  }
  mine.set_threads(placement.threads);
  mine.set_weight_bytes(store_->matrix_bytes());
  mine.set_replicated_bytes(plan_.replicated_bytes());
  mine.set_kv_bytes(engine_->kv_bytes());
  mine.set_state_bytes(engine_->state_bytes());
  mine.set_bytes_read(loaded_.bytes_read);
  mine.set_bytes_received(loaded_.bytes_received);
  mine.set_load_seconds(loaded_.seconds);
  mine.set_peak_bytes(PeakBytes());
  const numa::NumaStat stat = NumaStatOf(placement) - numastat_before_;
  mine.set_numa_hit(stat.hit);
  mine.set_numa_miss(stat.miss);
  mine.set_numa_foreign(stat.foreign);
  try {
    Audit(&mine);
  } catch (const Error& e) {
    // Where nothing is bound, nothing is promised: a kernel that does not tell is no reason to end.
    if (placement.place) throw;
    log::debug("{}", e.what());
    mine.set_pages_on_node(1);
    mine.set_window_on_node(1);
    mine.set_arena_bytes(store_->arena().bytes());
  }
  return mine;
}

void ModelSession::MakeReport() {
  proto::RankReport mine;
  Stage("auditing where the pages are", [&] { mine = MyReport(); });
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
  report_.set_kv_type(kernels::KvTypeName(table_->kv_type));
  for (uint64_t bytes : spec_.file_bytes()) report_.set_file_bytes(report_.file_bytes() + bytes);
  report_.set_copies_in_memory(static_cast<double>(resident) / static_cast<double>(plan_.weight_bytes()));
}

void ModelSession::Run(const std::function<void(exec::Engine&)>& body) {
  comm_.SetStage("running");
  try {
    if (leads()) {
      engine_->Lead();
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
