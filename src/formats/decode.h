// Codes to FP32 in runs: what both decode() and casts from codes are made of.
#pragma once

#include <array>
#include <cstddef>

#include "ullage/base/cpu.h"
#include "ullage/formats/format.h"

namespace ullage::formats {

// Made once a call: holds the table of an 8-bit format.
class Decoder {
 public:
  Decoder(const Format& format, CpuPath path);
  // codes: count elements of format.bytes() bytes each, at any alignment.
  void run(const void* codes, std::size_t count, float* values) const noexcept;

 private:
  Format format_;
  CpuPath path_;
  std::array<float, 256> table_ = {};
};

}  // namespace ullage::formats
