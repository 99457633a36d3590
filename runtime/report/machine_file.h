// MachineFile: a server that is not this one, described in JSON (launch/machines/*.json), for plan. Figures come from
// data sheets; what is an estimate instead is listed in the file itself. Thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace onecopy::report {

struct MachineFile {
  struct Node {
    int socket = 0;
    int cores = 0;
    uint64_t memory_bytes = 0;
    double channels = 0;        // of memory
    double read_bandwidth = 0;  // bytes a second: channels x transfers x bytes a transfer x achievable
  };
  std::string path;  // where it was read
  std::string name;  // for people
  std::vector<std::string> sources;
  std::map<std::string, std::string> estimates;  // "cpu.clock_hz" -> why that value; not from a data sheet
  std::vector<Node> nodes;
  int sockets = 1;

  // What a core can do at best with the instructions of a kernel table, in multiply-adds a cycle.
  struct Peak {
    double int8 = 0, floats = 0;
  };
  std::map<std::string, Peak> kernels;  // by table: "avx2", "avx512", …
  double clock_hz = 0;                  // with all cores busy
  double core_read_bandwidth = 0;
  std::map<double, double> matmul_efficiency;  // by tokens: the part of the peak that kernels reach

  double socket_link_bandwidth = 0;       // bytes a second one way between two sockets; 0 with one socket
  std::map<double, double> sync_seconds;  // by ranks: until a rank knows that all have arrived
  double copy_bandwidth = 0;              // bytes a second a thread copies from another rank's buffer
};

// Strict: every key must be there, of its type, within sense, and known; sources and estimates must not be empty.
// Errors: kBadInput naming file and key.
MachineFile ParseMachineFile(const std::string& text, const std::string& path);

// By path (what holds a '/' or ends in .json), or by the name of one that ships with onecopy. Errors: kBadInput; an
// unknown name lists those that ship.
MachineFile LoadMachineFile(const std::string& name_or_path);

// Names of those that ship, ascending; empty where none are installed.
std::vector<std::string> ShippedMachines();

}  // namespace onecopy::report
