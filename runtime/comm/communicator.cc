#include "runtime/comm/communicator.h"

namespace onecopy::comm {

void Communicator::AllReduceRows(std::span<double> terms, size_t cols, const RowSink& sink) {
  AllReduceSum(terms);
  for (size_t row = 0; row * cols < terms.size(); ++row) sink(row, terms.data() + row * cols);
}

}  // namespace onecopy::comm
