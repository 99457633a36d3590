// What the link between hosts gives: measured at start, where a plan depends on it.
#pragma once

#include "runtime/comm/communicator.h"

namespace onecopy::comm {

struct LinkRate {
  double seconds = 0;           // of a small message, one way
  double bytes_per_second = 0;  // of long ones
};

// Collective; for some 0.1 s, more where the link is slow. The slowest of the links from the first host to each other,
// the same on every rank; zeros on one host. Errors: CommError.
LinkRate MeasureLink(Communicator& comm);

}  // namespace onecopy::comm
