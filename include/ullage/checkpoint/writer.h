// A safetensors file from a few small FP32 tensors: what `ullage scales` writes.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace ullage::checkpoint {

struct SmallTensor {
  std::string name;
  std::vector<std::uint64_t> shape;  // empty: a scalar
  std::vector<float> values;         // in C order
};

// The whole file, header padded to 8 bytes with blanks. Tensors lie in the order given; names must be
// unique and valid UTF-8.
std::string to_safetensors(const std::vector<SmallTensor>& tensors,
                           const std::map<std::string, std::string>& metadata);

}  // namespace ullage::checkpoint
