#include "runtime/cli/same_start.h"

#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <optional>
#include <vector>

#include "kernels/registry.h"
#include "runtime/base/log.h"
#include "runtime/numa/sysfs.h"

namespace onecopy::cli {
namespace {

// FNV-1a, 64 bit (Fowler, Noll, Vo): finds accidents, not attacks.
class Digest {
 public:
  void Add(const void* data, size_t n) {
    const auto* bytes = static_cast<const uint8_t*>(data);
    for (size_t i = 0; i < n; ++i) value_ = (value_ ^ bytes[i]) * 0x100000001b3ull;
  }
  std::string Hex() const { return fmt::format("{:016x}", value_); }

 private:
  uint64_t value_ = 0xcbf29ce484222325ull;
};

// The linker's build id of this program (ELF note NT_GNU_BUILD_ID); empty where it was linked without.
std::string BuildId() {
  std::string id;
  dl_iterate_phdr(
      [](dl_phdr_info* info, size_t, void* out) {
        for (int i = 0; i < info->dlpi_phnum; ++i) {
          if (info->dlpi_phdr[i].p_type != PT_NOTE) continue;
          // NOLINTNEXTLINE(performance-no-int-to-ptr): the linker tells addresses as numbers
          const char* at = reinterpret_cast<const char*>(info->dlpi_addr + info->dlpi_phdr[i].p_vaddr);
          const char* end = at + info->dlpi_phdr[i].p_memsz;
          while (at + sizeof(ElfW(Nhdr)) <= end) {
            ElfW(Nhdr) note;
            std::memcpy(&note, at, sizeof(note));
            const char* name = at + sizeof(note);
            const char* content = name + (size_t{note.n_namesz} + 3) / 4 * 4;
            if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 && std::memcmp(name, "GNU", 4) == 0)
              for (uint32_t b = 0; b < note.n_descsz; ++b)
                *static_cast<std::string*>(out) += fmt::format("{:02x}", static_cast<uint8_t>(content[b]));
            at = content + (size_t{note.n_descsz} + 3) / 4 * 4;
          }
        }
        return 1;  // the first object is the program itself
      },
      &id);
  return id;
}

// The words after the program's name, as the kernel has them.
std::string CommandLine() {
  std::ifstream file("/proc/self/cmdline", std::ios::binary);
  std::string words(std::istreambuf_iterator<char>(file), {});
  words.erase(0, std::min(words.size(), words.find('\0') + 1));
  std::replace(words.begin(), words.end(), '\0', ' ');
  return words.empty() ? "(none)" : words;
}

// Ranks that say the same.
struct Party {
  std::vector<int> ranks;
  std::vector<std::string> hosts;
};

// "ranks 0-1 (hosta)"
std::string PartyName(const Party& party) {
  return fmt::format("rank{} {} ({})", party.ranks.size() == 1 ? "" : "s", numa::FormatIdList(party.ranks),
                     fmt::join(party.hosts, ", "));
}

// By what they say; ranks that say nothing are left out.
std::map<std::string, Party> Compare(comm::Communicator& comm, const std::string& value) {
  char host[256] = "unknown";
  gethostname(host, sizeof(host) - 1);
  const std::string text = std::string(host) + '\0' + value;
  std::map<std::string, Party> parties;
  const auto all = comm.AllGatherBytes({text.begin(), text.end()});
  for (size_t rank = 0; rank < all.size(); ++rank) {
    const auto host_end = std::find(all[rank].begin(), all[rank].end(), uint8_t{0});
    const std::string from(all[rank].begin(), host_end);
    if (host_end == all[rank].end() || host_end + 1 == all[rank].end()) continue;
    Party& party = parties[std::string(host_end + 1, all[rank].end())];
    party.ranks.push_back(static_cast<int>(rank));
    if (std::count(party.hosts.begin(), party.hosts.end(), from) == 0) party.hosts.push_back(from);
  }
  return parties;
}

// Long values from shortly before where they begin to differ.
std::string Excerpt(const std::string& value, size_t common) {
  constexpr size_t kBefore = 30, kMost = 160;
  const size_t begin = common > 2 * kBefore ? common - kBefore : 0;
  return fmt::format("{}{}{}", begin > 0 ? "…" : "", value.substr(begin, kMost),
                     value.size() > begin + kMost ? "…" : "");
}

}  // namespace

void RequireSame(comm::Communicator& comm, ErrorCode code, const std::string& what, const std::string& value,
                 const std::string& advice) {
  if (comm.size() == 1) return;
  const auto parties = Compare(comm, value);
  if (parties.size() <= 1) return;
  const std::string &first = parties.begin()->first, &last = parties.rbegin()->first;  // of sorted values
  const auto common = static_cast<size_t>(
      std::mismatch(first.begin(), first.end(), last.begin(), last.end()).first - first.begin());
  std::vector<std::pair<int, std::string>> said;
  for (const auto& [text, party] : parties)
    said.emplace_back(party.ranks[0], fmt::format("{}: {}", PartyName(party), Excerpt(text, common)));
  std::sort(said.begin(), said.end());
  std::string message = fmt::format("ranks differ in the {}: ", what);
  for (const auto& [rank, text] : said) message += text + "; ";
  throw Error(code, message + advice);
}

void RequireSameProgram(comm::Communicator& comm) {
  const std::string id = BuildId();
  RequireSame(comm, ErrorCode::kUsage, "build of onecopy",
              id.empty() ? "without a build id" : "build id " + id, "every host needs the same build");
  RequireSame(comm, ErrorCode::kUsage, "command line", CommandLine(),
              "start all ranks with the same command line");
}

const kernels::KernelTable& CommonKernels(comm::Communicator& comm, const kernels::KernelTable& mine) {
  if (comm.size() == 1) return mine;
  const auto parties = Compare(comm, mine.name);
  if (parties.size() == 1) return mine;
  const kernels::TableEntry* lowest = nullptr;
  std::string said;
  for (const kernels::TableEntry& entry : kernels::AllTables()) {  // best first
    const auto it = parties.find(entry.name);
    if (it == parties.end()) continue;
    lowest = &entry;
    said += fmt::format("{}{} on {}", said.empty() ? "" : ", ", entry.name, PartyName(it->second));
  }
  std::optional<Error> error;
  if (!lowest->supported())
    error = Error(ErrorCode::kUsage,
                  fmt::format("this CPU cannot run kernels {} (needs {}), which other ranks chose",
                              lowest->name, lowest->requires_isa));
  comm.Agree("choosing kernels", error ? &*error : nullptr);
  if (comm.rank() == 0)
    log::warn("ranks would use different kernels ({}): all use {}, so that results do not depend on the rank",
              said, lowest->name);
  return lowest->table();
}

std::string FileIdentity(const std::string& path, uint64_t header_bytes) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0 && (errno == ENOENT || errno == ENOTDIR)) return "";
  struct stat st = {};
  if (fd < 0 || fstat(fd, &st) != 0)
    Fail(ErrorCode::kBadInput, "cannot open {}: {}", path, std::strerror(errno));
  constexpr uint64_t kPage = 4096, kPages = 64, kMostHeader = 64 << 20, kPiece = 1 << 20;
  const auto size = static_cast<uint64_t>(st.st_size);
  Digest digest;
  std::vector<uint8_t> buffer(kPiece);
  const auto add = [&](uint64_t offset, uint64_t bytes) {
    const ssize_t n = pread(fd, buffer.data(), bytes, static_cast<off_t>(offset));
    if (n > 0) digest.Add(buffer.data(), static_cast<size_t>(n));
    return n >= 0;
  };
  bool good = true;
  const uint64_t header = std::min({header_bytes, size, kMostHeader});
  for (uint64_t at = 0; at < header && good; at += kPiece) good = add(at, std::min(kPiece, header - at));
  for (uint64_t i = 0; i < kPages && good; ++i)
    good = add((size - size % kPage) / kPages * i / kPage * kPage, kPage);
  const int read_errno = errno;
  close(fd);
  if (!good) Fail(ErrorCode::kBadInput, "cannot read {}: {}", path, std::strerror(read_errno));
  return fmt::format("{} bytes, digest {}", size, digest.Hex());
}

void RequireSameFiles(comm::Communicator& comm, const proto::ModelSpec& spec, bool distribute) {
  if (comm.hosts().size() == 1) return;
  std::string mine;
  std::optional<Error> error;
  if (comm.rank_on_host() == 0) {
    try {
      for (int f = 0; f < spec.files_size(); ++f) {
        uint64_t header = UINT64_MAX;
        for (const proto::Weight& w : spec.weights())
          if (w.file() == static_cast<uint32_t>(f)) header = std::min(header, w.offset());
        const std::string identity = FileIdentity(spec.files(f), header);
        if (identity.empty() && !distribute)
          Fail(ErrorCode::kBadInput,
               "{} does not exist on this host; every host needs the model at this path, or --distribute to "
               "get "
               "its part from one that has it",
               spec.files(f));
        if (identity.empty()) {
          mine.clear();  // takes no part: all of it comes from another host
          break;
        }
        mine += fmt::format("{}{}: {}", mine.empty() ? "" : ", ", spec.files(f), identity);
      }
    } catch (const Error& e) {
      error = e;
    }
  }
  comm.Agree("comparing the hosts' model files", error ? &*error : nullptr);
  RequireSame(comm, ErrorCode::kBadInput, "model's files", mine,
              distribute ? "copy the right ones, or remove the wrong ones, which --distribute then replaces"
                         : "copy the right ones to every host");
}

void RequireSamePlan(comm::Communicator& comm, const proto::ShardPlan& plan) {
  Digest digest;
  const std::string bytes = plan.SerializeAsString();  // no maps: the same bytes for the same plan
  digest.Add(bytes.data(), bytes.size());
  RequireSame(comm, ErrorCode::kCommunication, "plan that each has made", "digest " + digest.Hex(),
              "this is a bug in onecopy or a faulty machine, please report it");
}

}  // namespace onecopy::cli
