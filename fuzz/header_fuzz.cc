// Any bytes as a safetensors file: refused with one line, or every tensor lies inside it and is found.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string>

#include "ullage/checkpoint/header.h"

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

void check_error(const ullage::Error& error) {
  const std::string line = error.message();
  require(!line.empty() && line.size() < 20'000 && line.find('\n') == std::string::npos);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace ullage::checkpoint;
  const auto length =
      header_length(std::span(data, std::min<std::size_t>(size, 8)), size, "fuzzed");
  if (!length.ok()) {
    check_error(length.error());
    return 0;
  }
  const std::string json(reinterpret_cast<const char*>(data) + 8, *length);
  const auto header = parse_header(json, size, "fuzzed");
  if (!header.ok()) {
    check_error(header.error());
    return 0;
  }
  std::uint64_t at = 8 + *length;
  for (const TensorInfo& tensor : header->tensors()) {
    require(tensor.begin == at && tensor.bytes <= size - at);
    at += tensor.bytes;
    require(tensor.shape.size() <= kMaxRank);
    __extension__ using Uint128 = unsigned __int128;
    Uint128 bits = bits_of(tensor.dtype);
    for (const std::uint64_t extent : tensor.shape) bits *= extent;
    require(bits == Uint128{tensor.bytes} * 8);
    require(header->find(tensor.name) == &tensor);
  }
  require(at == size);
  return 0;
}
