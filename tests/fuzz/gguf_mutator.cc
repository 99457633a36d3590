#include "tests/fuzz/gguf_mutator.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <random>
#include <string>
#include <vector>

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

namespace onecopy::fuzz {
namespace {

constexpr uint32_t kText = 8, kArray = 9;
constexpr std::array<size_t, 13> kScalarBytes = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
constexpr uint64_t kInteresting[] = {0,
                                     1,
                                     2,
                                     3,
                                     4,
                                     8,
                                     16,
                                     31,
                                     32,
                                     33,
                                     64,
                                     128,
                                     255,
                                     256,
                                     1000,
                                     65535,
                                     65536,
                                     1u << 20,
                                     1u << 31,
                                     UINT32_MAX,
                                     1ull << 32,
                                     INT64_MAX,
                                     1ull << 63,
                                     UINT64_MAX,
                                     0x7FC00000 /* NaN */,
                                     0x3F800000 /* 1.0 */,
                                     0x461C4000 /* 10000.0 */};

// Pieces of the file: the fixed header, pairs and tensors, which may stand in any order and number.
struct Pair {
  std::string name;
  uint32_t type;
  std::string value;
};
struct Tensor {
  std::string name;
  std::vector<uint64_t> dims;
  uint32_t type;
  uint64_t offset;
};
struct File {
  uint32_t version;
  std::vector<Pair> pairs;
  std::vector<Tensor> tensors;
  std::string rest;
};

struct Reader {
  const uint8_t* at;
  size_t left;
  bool failed = false;

  std::string Bytes(uint64_t n) {
    if (n > left) failed = true;
    if (failed) return {};
    std::string out(reinterpret_cast<const char*>(at), n);
    at += n;
    left -= n;
    return out;
  }
  template <typename T>
  T Number() {
    T value = 0;
    const std::string bytes = Bytes(sizeof value);
    if (!failed) std::memcpy(&value, bytes.data(), sizeof value);
    return value;
  }
  std::string Text() { return Bytes(Number<uint64_t>()); }
};

template <typename T>
std::string Raw(T value) {
  return {reinterpret_cast<const char*>(&value), sizeof value};
}
std::string RawText(const std::string& text) {
  return Raw<uint64_t>(text.size()) + text;
}

std::string ReadValue(Reader& in, uint32_t type) {
  if (type == kText) return RawText(in.Text());
  if (type != kArray)
    return type < kScalarBytes.size() ? in.Bytes(kScalarBytes[type]) : (in.failed = true, "");
  const auto element = in.Number<uint32_t>();
  const auto count = in.Number<uint64_t>();
  std::string out = Raw(element) + Raw(count);
  if (element >= kScalarBytes.size() || element == kArray || count > in.left) in.failed = true;
  for (uint64_t i = 0; i < count && !in.failed; ++i) out += ReadValue(in, element);
  return out;
}

std::optional<File> Parse(const uint8_t* data, size_t size) {
  Reader in{data, size};
  File file;
  if (in.Bytes(4) != "GGUF") return std::nullopt;
  file.version = in.Number<uint32_t>();
  const auto n_tensors = in.Number<uint64_t>(), n_pairs = in.Number<uint64_t>();
  if (in.failed || n_tensors > size || n_pairs > size) return std::nullopt;
  for (uint64_t i = 0; i < n_pairs && !in.failed; ++i) {
    Pair pair{in.Text(), in.Number<uint32_t>(), {}};
    pair.value = ReadValue(in, pair.type);
    file.pairs.push_back(std::move(pair));
  }
  for (uint64_t i = 0; i < n_tensors && !in.failed; ++i) {
    Tensor tensor{in.Text(), {}, 0, 0};
    const auto n_dims = in.Number<uint32_t>();
    if (n_dims > 8) return std::nullopt;
    for (uint32_t d = 0; d < n_dims; ++d) tensor.dims.push_back(in.Number<uint64_t>());
    tensor.type = in.Number<uint32_t>();
    tensor.offset = in.Number<uint64_t>();
    file.tensors.push_back(std::move(tensor));
  }
  if (in.failed) return std::nullopt;
  file.rest = in.Bytes(in.left);
  return file;
}

std::string Build(const File& file) {
  std::string out =
      "GGUF" + Raw(file.version) + Raw<uint64_t>(file.tensors.size()) + Raw<uint64_t>(file.pairs.size());
  for (const Pair& pair : file.pairs) out += RawText(pair.name) + Raw(pair.type) + pair.value;
  for (const Tensor& tensor : file.tensors) {
    out += RawText(tensor.name) + Raw(static_cast<uint32_t>(tensor.dims.size()));
    for (const uint64_t dim : tensor.dims) out += Raw(dim);
    out += Raw(tensor.type) + Raw(tensor.offset);
  }
  return out + file.rest;
}

std::string Mutated(std::string text) {
  const size_t size = text.size();
  text.resize(size + 16);
  text.resize(LLVMFuzzerMutate(reinterpret_cast<uint8_t*>(text.data()), size, text.size()));
  return text;
}

// From one list of a file: leaves one out, has it twice, or in another place.
template <typename T>
void Rearrange(std::vector<T>* all, std::minstd_rand& random) {
  if (all->empty()) return;
  const size_t i = random() % all->size(), j = random() % all->size();
  switch (random() % 3) {
    case 0:
      all->erase(all->begin() + static_cast<ptrdiff_t>(i));
      break;
    case 1: {
      T copy = (*all)[i];
      if (random() % 4 != 0) copy.name = Mutated(copy.name);
      all->push_back(std::move(copy));
      break;
    }
    default:
      std::swap((*all)[i], (*all)[j]);
  }
}

void Change(Pair* pair, std::minstd_rand& random) {
  const auto number = [&] { return kInteresting[random() % std::size(kInteresting)]; };
  if (pair->type == kText) {
    pair->value = RawText(Mutated(pair->value.substr(8)));
  } else if (pair->type == kArray) {
    // One element more or less, or other bytes in it.
    uint64_t count;
    std::memcpy(&count, pair->value.data() + 4, sizeof count);
    std::string elements = pair->value.substr(12);
    if (random() % 2 == 0 && count > 0) {
      const size_t at = random() % (elements.size() + 1);
      if (at < elements.size()) elements[at] = static_cast<char>(random());
    } else {
      count += random() % 2 == 0 ? 1 : static_cast<uint64_t>(-1);
    }
    pair->value = pair->value.substr(0, 4) + Raw(count) + elements;
  } else if (random() % 4 == 0) {
    pair->type = static_cast<uint32_t>(std::array{0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12}[random() % 11]);
    pair->value = Raw(number()).substr(0, kScalarBytes[pair->type]);
  } else {
    pair->value = random() % 2 == 0 ? Raw(number()).substr(0, pair->value.size())
                                    : Raw<uint64_t>(random() % 130).substr(0, pair->value.size());
  }
}

void Change(Tensor* tensor, std::minstd_rand& random) {
  switch (random() % 4) {
    case 0:
      tensor->name = Mutated(tensor->name);
      break;
    case 1:
      tensor->type = random() % 42;
      break;
    case 2:
      tensor->offset =
          random() % 2 == 0 ? kInteresting[random() % std::size(kInteresting)] : random() % 256 * 32;
      break;
    default:
      if (tensor->dims.empty() || random() % 4 == 0) tensor->dims.push_back(1);
      tensor->dims[random() % tensor->dims.size()] =
          random() % 2 == 0 ? kInteresting[random() % std::size(kInteresting)] : random() % 260;
  }
}

}  // namespace

size_t MutateGguf(uint8_t* data, size_t size, size_t max_size, unsigned seed) {
  std::optional<File> file = Parse(data, size);
  if (!file) return 0;
  std::minstd_rand random(seed);
  for (unsigned i = 0; i < 1 + random() % 3; ++i) {
    switch (random() % 6) {
      case 0:
        Rearrange(&file->pairs, random);
        break;
      case 1:
        Rearrange(&file->tensors, random);
        break;
      case 2:
      case 3:
        if (!file->pairs.empty()) Change(&file->pairs[random() % file->pairs.size()], random);
        break;
      default:
        if (!file->tensors.empty()) Change(&file->tensors[random() % file->tensors.size()], random);
    }
  }
  const std::string out = Build(*file);
  if (out.size() > max_size) return 0;
  std::copy(out.begin(), out.end(), data);
  return out.size();
}

}  // namespace onecopy::fuzz
