// The machine that a plan is for: this one as measured now, one in a machine file, or one given by options; and how
// ranks lie on it. What is not measured and not in a file is a stated default, and is called so.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/kernels.h"
#include "proto/model.pb.h"
#include "runtime/numa/topology.h"
#include "runtime/shard/balance.h"
#include "runtime/shard/predict.h"

namespace onecopy::cli {

struct PlanWish {
  std::string machine;      // name or file; empty: this machine
  std::string node_memory;  // "64G", or one a node with commas; empty: what the machine has
  std::string bandwidth;    // "46GB/s", or one a node with commas
  int nodes = 0;            // 0: those of the machine
};

class PlanMachine {
 public:
  struct Node {
    int id = 0;
    int socket = 0;
    int cores = 1;
    uint64_t available_bytes = 0;
    double read_bandwidth = 0;
  };
  // How ranks lie on the nodes.
  enum class Layout {
    kSpread,     // one node a rank, or several ranks a node: as launch/onecopy -n
    kPerSocket,  // a rank over all nodes of a socket: --ranks-per socket
    kOneRank,    // one over all nodes: -n 1 --bind none
  };
  // What one rank has of the machine.
  struct Place {
    int node = 0;                  // its first
    int sharers = 1;               // ranks there, with this one
    uint64_t available_bytes = 0;  // of the place
    double read_bandwidth = 0;     // of this rank
    int threads = 1;
    double core_share = 1;
  };

  // Measures this machine for about a second where it is the one that is planned for and no bandwidth is given; with
  // the table's own kernels, for the types of the model. Errors: kUsage, kBadInput (machine file).
  PlanMachine(const PlanWish& wish, const numa::Topology& topology, const proto::ModelSpec& spec,
              const kernels::KernelTable& table);

  const std::string& name() const { return name_; }
  const std::string& basis() const { return basis_; }  // where the figures come from, for people
  const char* source() const { return source_; }       // "measured", "given" or "machine file"
  const std::vector<Node>& nodes() const { return nodes_; }
  int sockets() const;
  uint64_t host_available() const { return host_available_; }

  std::vector<Place> Lay(Layout layout, int ranks) const;
  shard::MachineModel Model(const std::vector<Place>& places) const;

 private:
  void ReadFile(const PlanWish& wish, const kernels::KernelTable& table);
  void TakeThisMachine(const PlanWish& wish, const numa::Topology& topology);
  void Measure(const proto::ModelSpec& spec, const kernels::KernelTable& table,
               const numa::Topology& topology);
  void State(const kernels::KernelTable& table, double int8_peak, double float_peak, double clock_hz);
  void Override(const PlanWish& wish);
  Place Merge(const std::vector<const Node*>& nodes) const;
  double RegionSeconds(int threads) const;
  double SyncSeconds(int ranks, bool share_cores) const;

  std::string name_, basis_;
  const char* source_ = "measured";
  bool is_here_ = true;
  std::vector<Node> nodes_;
  uint64_t host_available_ = UINT64_MAX;
  shard::MachineModel model_;  // without ranks
  double socket_link_bandwidth_ = 0;
  double region_base_ = 0, region_per_thread_ = 0;
  std::vector<std::pair<double, double>> sync_seconds_;  // by ranks, ascending
  double wake_seconds_ = 0;                              // of a sleeping rank
};

}  // namespace onecopy::cli
