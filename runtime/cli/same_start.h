// Same start: what must be the same on all ranks is compared before they rely on it: program, command line, kernels,
// model files, plan. Each function is collective; where ranks differ it throws the same Error on all of them, with one
// message that says which ranks and hosts have what.
#pragma once

#include <string>

#include "kernels/kernels.h"
#include "proto/model.pb.h"
#include "proto/plan.pb.h"
#include "runtime/base/error.h"
#include "runtime/comm/communicator.h"

namespace onecopy::cli {

// Throws `code` unless all ranks say the same; a rank that says nothing takes no part. what: "build of onecopy"; advice:
// what to do about it.
void RequireSame(comm::Communicator& comm, ErrorCode code, const std::string& what, const std::string& value,
                 const std::string& advice);

// The build of the program and the words of its command line. Errors: kUsage.
void RequireSameProgram(comm::Communicator& comm);

// The best table that every rank can use, given each rank's choice. Tables differ in the last bits of what they
// compute, and every rank computes norms of its own, so ranks with different tables would not hold the same
// activations: where CPUs differ all use the lowest choice, with a warning. Errors: kUsage where a rank cannot.
const kernels::KernelTable& CommonKernels(comm::Communicator& comm, const kernels::KernelTable& mine);

// The model's files on every host: there (unless `distribute`), of the right size, and the same in their headers and in
// some pages spread over their data. Not read as a whole: weights that differ elsewhere are not found. Errors: kBadInput.
void RequireSameFiles(comm::Communicator& comm, const proto::ModelSpec& spec, bool distribute);

// Every rank has planned for itself. Errors: kCommunication.
void RequireSamePlan(comm::Communicator& comm, const proto::ShardPlan& plan);

// What RequireSameFiles compares of one file: "5000 bytes, digest 00…"; empty where it does not exist. header_bytes: how
// much of its start is digested as a whole. Errors: kBadInput.
std::string FileIdentity(const std::string& path, uint64_t header_bytes);

}  // namespace onecopy::cli
