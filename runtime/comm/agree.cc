// An outcome is a 4-byte exit code, the host name, a zero byte, and the message.
#include "runtime/comm/agree.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "runtime/base/check.h"
#include "runtime/comm/shm_region.h"

namespace onecopy::comm {
namespace {

struct Complaint {
  std::string ranks;
  std::string text;
  int n_ranks = 0;
};

}  // namespace

std::vector<uint8_t> EncodeOutcome(const Error* error) {
  const auto code = static_cast<int32_t>(error == nullptr ? ErrorCode::kOk : error->code());
  std::vector<uint8_t> bytes(sizeof(code));
  memcpy(bytes.data(), &code, sizeof(code));
  if (error != nullptr) {
    const std::string text = HostName() + '\0' + error->what();
    bytes.insert(bytes.end(), text.begin(), text.end());
  }
  return bytes;
}

void ThrowIfAnyFailed(const char* stage, const std::vector<std::vector<uint8_t>>& outcomes) {
  auto first_code = static_cast<int32_t>(ErrorCode::kOk);
  std::vector<Complaint> complaints;
  for (size_t rank = 0; rank < outcomes.size(); ++rank) {
    const std::vector<uint8_t>& bytes = outcomes[rank];
    int32_t code;
    ONECOPY_CHECK(bytes.size() >= sizeof(code));
    memcpy(&code, bytes.data(), sizeof(code));
    if (code == static_cast<int32_t>(ErrorCode::kOk)) continue;
    if (complaints.empty()) first_code = code;
    const auto host_end = std::find(bytes.begin() + sizeof(code), bytes.end(), uint8_t{0});
    ONECOPY_CHECK(host_end != bytes.end());
    const std::string host(bytes.begin() + sizeof(code), host_end);
    const std::string text(host_end + 1, bytes.end());
    auto it = std::find_if(complaints.begin(), complaints.end(),
                           [&](const Complaint& c) { return c.text == text; });
    if (it == complaints.end()) it = complaints.insert(it, Complaint{"", text});
    it->ranks += fmt::format("{}{} ({})", it->n_ranks == 0 ? "" : ", ", rank, host);
    ++it->n_ranks;
  }
  if (complaints.empty()) return;
  std::string message = fmt::format("{} failed: ", stage);
  for (const Complaint& complaint : complaints) {
    if (&complaint != complaints.data()) message += "; ";
    // Said by all, it is about none of them.
    const bool by_all = outcomes.size() > 1 && static_cast<size_t>(complaint.n_ranks) == outcomes.size();
    if (!by_all) message += fmt::format("rank{} {}: ", complaint.n_ranks == 1 ? "" : "s", complaint.ranks);
    message += complaint.text;
  }
  throw Error(static_cast<ErrorCode>(first_code), message);
}

}  // namespace onecopy::comm
