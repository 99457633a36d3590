#include "runtime/report/machine_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <nlohmann/json.hpp>

#include "runtime/base/error.h"

namespace onecopy::report {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

json Valid() {
  return json::parse(R"({
    "name": "a machine", "sources": ["a data sheet"], "sockets": 2,
    "nodes": {"count": 4, "cores": 8, "memory_bytes": 64e9, "channels": 2},
    "memory": {"transfers_per_second": 4.8e9, "bytes_per_transfer": 8, "achievable": 0.5},
    "cpu": {"clock_hz": 2e9, "core_read_bandwidth": 2e10, "matmul_efficiency": {"1": 0.2, "8": 0.4},
            "kernels": {"avx2": {"int8_multiply_adds_per_cycle": 64, "float_multiply_adds_per_cycle": 16}}},
    "links": {"socket_link_bandwidth": 1e11, "sync_seconds": {"2": 1e-6}, "copy_bandwidth": 8e9},
    "estimates": {"cpu.clock_hz": "a guess"}})");
}

std::string ErrorOf(const json& machine) {
  try {
    ParseMachineFile(machine.dump(), "m.json");
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::kBadInput);
    return e.what();
  }
  return "no error";
}

TEST(MachineFile, EveryShippedMachineParsesAndNamesItsSources) {
  const auto names = ShippedMachines();
  EXPECT_GE(names.size(), 8u);
  for (const std::string& name : names) {
    const MachineFile machine = LoadMachineFile(name);
    EXPECT_FALSE(machine.sources.empty()) << name;
    EXPECT_TRUE(machine.estimates.contains("memory.achievable")) << name;
    EXPECT_TRUE(machine.estimates.contains("cpu.matmul_efficiency")) << name;
    EXPECT_TRUE(machine.kernels.contains("avx2")) << name;
    for (const auto& node : machine.nodes) {
      EXPECT_GT(node.read_bandwidth, 10e9) << name;
      EXPECT_LT(node.read_bandwidth, 1e12) << name;
    }
  }
}

// The names say how many nodes there are.
TEST(MachineFile, ShippedNamesAgreeWithWhatIsInside) {
  for (const std::string& name : ShippedMachines()) {
    const MachineFile machine = LoadMachineFile(name);
    EXPECT_EQ(machine.sockets, name[0] - '0') << name;
    EXPECT_THAT(name, ::testing::MatchesRegex(".*-" + std::to_string(machine.nodes.size()) + "-nodes?"));
  }
}

TEST(MachineFile, SameServerHasTheSameSumsHoweverItIsCut) {
  for (const auto& [a, b] : {std::pair{"2x-epyc-9655-2-nodes", "2x-epyc-9655-24-nodes"},
                             std::pair{"2x-epyc-9654-2-nodes", "2x-epyc-9654-8-nodes"},
                             std::pair{"2x-xeon-8592plus-2-nodes", "2x-xeon-8592plus-4-nodes"}}) {
    const auto sum = [](const MachineFile& machine, auto member) {
      double total = 0;
      for (const auto& node : machine.nodes) total += static_cast<double>(node.*member);
      return total;
    };
    const MachineFile first = LoadMachineFile(a), second = LoadMachineFile(b);
    using Node = MachineFile::Node;
    EXPECT_EQ(sum(first, &Node::cores), sum(second, &Node::cores)) << a;
    EXPECT_EQ(sum(first, &Node::memory_bytes), sum(second, &Node::memory_bytes)) << a;
    EXPECT_NEAR(sum(first, &Node::read_bandwidth), sum(second, &Node::read_bandwidth), 1e3) << a;
  }
}

TEST(MachineFile, BandwidthIsChannelsTimesTransfersTimesWidthTimesWhatIsReached) {
  const MachineFile machine = ParseMachineFile(Valid().dump(), "m.json");
  ASSERT_EQ(machine.nodes.size(), 4u);
  EXPECT_DOUBLE_EQ(machine.nodes[0].read_bandwidth, 2 * 4.8e9 * 8 * 0.5);
  EXPECT_EQ(machine.nodes[1].socket, 0);
  EXPECT_EQ(machine.nodes[2].socket, 1);
  EXPECT_EQ(machine.matmul_efficiency.at(8), 0.4);
}

TEST(MachineFile, NodesMayBeAList) {
  json machine = Valid();
  machine["nodes"] = {{{"socket", 0}, {"cores", 8}, {"memory_bytes", 1e9}, {"channels", 1}},
                      {{"socket", 1}, {"cores", 4}, {"memory_bytes", 2e9}, {"channels", 2}}};
  const MachineFile parsed = ParseMachineFile(machine.dump(), "m.json");
  ASSERT_EQ(parsed.nodes.size(), 2u);
  EXPECT_EQ(parsed.nodes[1].cores, 4);
  EXPECT_EQ(parsed.nodes[1].memory_bytes, 2000000000u);
  EXPECT_DOUBLE_EQ(parsed.nodes[1].read_bandwidth, 2 * parsed.nodes[0].read_bandwidth);
}

TEST(MachineFile, WhatIsWrongIsNamedWithFileAndKey) {
  struct Case {
    std::function<void(json*)> spoil;
    const char* named;
  };
  const Case cases[] = {
      {[](json* m) { m->erase("name"); }, "name is missing"},
      {[](json* m) { (*m)["sources"] = json::array(); }, "sources"},
      {[](json* m) { (*m)["estimates"] = json::object(); }, "estimates"},
      {[](json* m) { (*m)["estimates"]["cpu.colour"] = "red"; }, "estimates.cpu.colour explains a key"},
      {[](json* m) { (*m)["colour"] = "red"; }, "colour is not a key"},
      {[](json* m) { (*m)["cpu"]["colour"] = "red"; }, "cpu.colour is not a key"},
      {[](json* m) { (*m)["cpu"]["clock_hz"] = "3 GHz"; }, "cpu.clock_hz must be a number"},
      {[](json* m) { (*m)["cpu"]["clock_hz"] = -1; }, "cpu.clock_hz is -1"},
      {[](json* m) {
         (*m)["cpu"]["matmul_efficiency"] = {{"many", 0.5}};
       },
       "many"},
      {[](json* m) { (*m)["cpu"]["matmul_efficiency"]["8"] = 1.5; }, "cpu.matmul_efficiency.8 is 1.5"},
      {[](json* m) { (*m)["cpu"]["kernels"] = json::object(); }, "cpu.kernels must not be empty"},
      {[](json* m) { (*m)["memory"].erase("achievable"); }, "memory.achievable is missing"},
      {[](json* m) { (*m)["links"].erase("socket_link_bandwidth"); },
       "links.socket_link_bandwidth is missing"},
      {[](json* m) { (*m)["links"]["sync_seconds"] = json::object(); },
       "links.sync_seconds must not be empty"},
      {[](json* m) { (*m)["nodes"]["count"] = 0; }, "nodes.count is 0"},
      {[](json* m) { (*m)["nodes"]["cores"] = 1.5; }, "nodes.cores must be a whole number"},
      {[](json* m) { (*m)["nodes"] = json::array(); }, "nodes must be 1"},
      {[](json* m) {
         (*m)["nodes"] = {{{"socket", 2}, {"cores", 1}, {"memory_bytes", 1e9}, {"channels", 1}}};
       },
       "nodes[0].socket is 2"},
  };
  EXPECT_EQ(ErrorOf(Valid()), "no error");
  for (const Case& c : cases) {
    json machine = Valid();
    c.spoil(&machine);
    EXPECT_THAT(ErrorOf(machine), HasSubstr(c.named));
    EXPECT_THAT(ErrorOf(machine), HasSubstr("m.json: "));
  }
  EXPECT_THROW(ParseMachineFile("{", "m.json"), Error);
  EXPECT_THROW(ParseMachineFile("[]", "m.json"), Error);
}

TEST(MachineFile, UnknownNameListsThoseThatShip) {
  try {
    LoadMachineFile("pdp-11");
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::kBadInput);
    EXPECT_THAT(e.what(), HasSubstr("pdp-11"));
    EXPECT_THAT(e.what(), HasSubstr("2x-epyc-9655-24-nodes"));
  }
  EXPECT_THROW(LoadMachineFile("./absent.json"), Error);
}

}  // namespace
}  // namespace onecopy::report
