// Distribution: ranks of hosts that have the model's files read blocks for the ranks of hosts that have not, and send
// them through MPI. Which blocks these are and in which order follows from the plan alone, so nothing is asked for.
// Belongs to the thread that owns the communicator, as MPI is called from there only; files are read beside it.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "runtime/comm/communicator.h"
#include "runtime/shard/model_files.h"
#include "runtime/shard/read_ahead.h"

namespace onecopy::shard {

// By rank: who sends to it; -1 where the rank reads its host's files itself. hosts: the ranks of each. has_files: by host;
// at least one has. Receiving ranks are dealt over the ranks of all hosts that have the files, hosts in turn, so that
// as many disks and links as there are take part.
std::vector<int> ChooseSenders(const std::vector<std::vector<int>>& hosts,
                               const std::vector<bool>& has_files);

// A block that is due in a round of the receiving host's load.
struct Shipment {
  size_t round;
  int to;
  const ReadBlock* block;
};

class Shipper {
 public:
  // shipments: ascending by round, in the order in which all ranks receive. buffers: large enough for any block; the more
  // there are, the further ahead is read.
  Shipper(comm::Communicator& comm, const ModelFiles& files, std::vector<Shipment> shipments,
          std::vector<uint8_t*> buffers, const ReaderThreads& readers);

  // Sends what is due up to and in `round`, while what comes after is being read. Once a read has failed, sends go on with
  // whatever is in the buffers, as the others wait for them: error() tells, and the load ends by it.
  void ShipUpTo(size_t round);

  std::optional<Error> error() { return reads_.error(); }
  uint64_t bytes_sent() const { return bytes_sent_; }

 private:
  comm::Communicator& comm_;
  const std::vector<Shipment> shipments_;
  const std::vector<uint8_t*> buffers_;
  size_t next_ = 0;
  uint64_t bytes_sent_ = 0;
  ReadAhead reads_;
};

}  // namespace onecopy::shard
