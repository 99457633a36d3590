// What processes of a job send each other: Protobuf messages (the first byte says which), and frames of the template worker.
#include <google/protobuf/stubs/logging.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proto/control.pb.h"
#include "proto/model.pb.h"
#include "proto/plan.pb.h"
#include "proto/report.pb.h"
#include "runtime/jinja/frame.h"
#include "tests/fuzz/support.h"

namespace onecopy::fuzz {
namespace {

template <typename Message>
void CheckMessage(std::string_view bytes) {
  Message message, again;
  if (!message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return;
  // Whether it reads what it wrote is Protobuf's affair: of fields it does not know it may not.
  again.ParseFromString(message.SerializeAsString());
}

void CheckFrames(std::string_view bytes) {
  int fds[2];
  Require(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0, "no socket");
  // What does not fit into the socket at once is more than the reader takes.
  (void)!send(fds[0], bytes.data(), std::min<size_t>(bytes.size(), 65536), MSG_NOSIGNAL | MSG_DONTWAIT);
  close(fds[0]);
  constexpr size_t kMost = 1 << 16;
  while (const auto frame = jinja::ReadFrame(fds[1], kMost)) Require(frame->size() <= kMost, "a long frame");
  close(fds[1]);
}

}  // namespace
}  // namespace onecopy::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace onecopy;        // NOLINT
  using namespace onecopy::fuzz;  // NOLINT
  std::string_view bytes = View(data, size);
  const auto kind = TakeNumber<uint8_t>(&bytes);
  // Protobuf takes megabytes at once for a list that says it is long.
  const Budget budget(2, (64 << 20) + 400 * size);
  static const google::protobuf::LogSilencer silent;  // it says of each text that it is no UTF-8
  constexpr void (*kChecks[])(std::string_view) = {
      CheckMessage<proto::Control>,   CheckMessage<proto::EngineOptions>,
      CheckMessage<proto::RankTimes>, CheckMessage<proto::ModelSpec>,
      CheckMessage<proto::ShardPlan>, CheckMessage<proto::RankNeeds>,
      CheckMessage<proto::RunReport>, CheckFrames};
  kChecks[kind % std::size(kChecks)](bytes);
  return 0;
}
