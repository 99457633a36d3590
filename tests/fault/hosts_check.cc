// Loads a model over pretended hosts under mpirun, each in a folder of its own, so that a host may have another file
// than the others or none: what was read by whom, and is it right? For hosts_test.py.
//
// usage: hosts_check RANKS_PER_HOST MODEL FOLDER... [--distribute] [--shrink-to BYTES]
//   MODEL      relative path; looked for in the FOLDER of the host (the last one, where there are more hosts)
//   --shrink-to BYTES   once half of rank 0's host's part is loaded, its file is cut to so many bytes

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "kernels/registry.h"
#include "runtime/base/log.h"
#include "runtime/cli/same_start.h"
#include "runtime/model/model_spec.h"
#include "runtime/shard/loader.h"
#include "tests/support/shard_check.h"

namespace onecopy {
namespace {

struct Options {
  int ranks_per_host = 1;
  std::string model;
  std::vector<std::string> folders;
  bool distribute = false;
  uint64_t shrink_to = 0;
};

Options Parse(int argc, char** argv) {
  Options options;
  options.ranks_per_host = std::stoi(argv[1]);
  options.model = argv[2];
  for (int i = 3; i < argc; ++i) {
    if (std::strcmp(argv[i], "--distribute") == 0) {
      options.distribute = true;
    } else if (std::strcmp(argv[i], "--shrink-to") == 0) {
      options.shrink_to = std::stoull(argv[++i]);
    } else {
      options.folders.emplace_back(argv[i]);
    }
  }
  return options;
}

void EnterFolder(const comm::Communicator& comm, const Options& options) {
  const auto hosts = comm.hosts();
  for (size_t h = 0; h < hosts.size(); ++h)
    if (std::count(hosts[h].begin(), hosts[h].end(), comm.rank()) > 0)
      std::filesystem::current_path(options.folders[std::min(h, options.folders.size() - 1)]);
}

// A model is described by rank 0, as in the program.
proto::ModelSpec ShareSpec(comm::Communicator& comm, const Options& options) {
  std::vector<uint8_t> bytes;
  if (comm.rank() == 0) {
    const std::string text = BuildModelSpec(OpenCheckpoint(options.model)).SerializeAsString();
    bytes.assign(text.begin(), text.end());
  }
  comm.Broadcast(&bytes, 0);
  proto::ModelSpec spec;
  spec.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
  return spec;
}

void Run(comm::Communicator& comm, const Options& options) {
  EnterFolder(comm, options);
  const proto::ModelSpec spec = ShareSpec(comm, options);
  cli::RequireSameFiles(comm, spec, options.distribute);
  std::string error;
  const auto& table = *kernels::SelectTable("", &error);
  const auto plan = shard::MakeShardPlan(spec, table, {.ranks = comm.size(), .shares = {}});
  cli::RequireSamePlan(comm, plan);
  numa::ArenaSource memory;
  const shard::WeightStore store(spec, plan, table, comm.rank(), &memory);
  bool shrunk = options.shrink_to == 0;
  const auto stats =
      shard::LoadWeights(comm, spec, plan, store, comm.rank(),
                         {.distribute = options.distribute, .progress = [&](uint64_t done, uint64_t total) {
                            if (shrunk || done < total / 2) return;
                            shrunk = true;
                            std::filesystem::resize_file(options.model, options.shrink_to);
                          }});
  std::filesystem::current_path(options.folders[0]);
  const std::string differs = test::ShardDiffers(spec, plan, store, comm.rank());
  const std::string line = fmt::format(R"({{"rank": {}, "read": {}, "received": {}, "differs": "{}"}})",
                                       comm.rank(), stats.bytes_read, stats.bytes_received, differs);
  const auto lines = comm.AllGatherBytes({line.begin(), line.end()});
  if (comm.rank() != 0) return;
  for (const auto& from : lines) std::printf("%s\n", std::string(from.begin(), from.end()).c_str());
}

}  // namespace
}  // namespace onecopy

int main(int argc, char** argv) {
  using namespace onecopy;
  const Options options = Parse(argc, argv);
  comm::CommOptions comm_options;
  comm_options.ranks_per_pretended_host = options.ranks_per_host;
  std::unique_ptr<comm::Communicator> comm = comm::MakeMpiCommunicator(comm_options);
  log::Init(comm->rank(), comm->size(), /*verbose=*/false);
  try {
    Run(*comm, options);
  } catch (const comm::CommError& e) {
    log::error("{}", e.what());
    comm::AbortMpi(static_cast<int>(e.code()));
  } catch (const Error& e) {  // agreed on: every rank is here
    if (comm->rank() == 0) log::error("{}", e.what());
    comm.reset();
    return static_cast<int>(e.code());
  }
}
