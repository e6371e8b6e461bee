// Reads the golden cast vectors, which tests/data/formats/make_golden.py made: flat files, each with every code's
// value and inputs with expected codes.
//
// Little endian: 8s magic "ULGOLD1", 24s name, u32 code bits, codes, inputs, variants; u32 value of
// each code (FP32 pattern); u32 inputs[inputs / 2] (FP32 patterns; the other half are the same with
// the sign set); u16 codes[variants][inputs], the variants being non-saturating, saturating and,
// for E8M0, saturating toward zero and saturating up; u8 flags[inputs].
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ullage/formats/format.h"

namespace ullage::formats {

enum GoldenFlag : std::uint8_t {
  kGoldenNan = 1,
  kGoldenTie = 2,
  kGoldenOverflow = 4,
  kGoldenConvention = 8,  // the expected code is one library's choice, not arithmetic
  kGoldenTiny = 16,
  kGoldenConventionsDiffer = 32,
  kGoldenExact = 64,
  kGoldenTrap = 128,  // rounding twice gives another code
};

struct Golden {
  std::string file;
  Format format;
  std::vector<std::uint32_t> values = {};
  std::vector<float> inputs = {};
  std::vector<std::vector<std::uint16_t>> codes = {};  // by variant
  std::vector<std::uint8_t> flags = {};
};

// All ten files; throws std::runtime_error, which fails the test, when one cannot be read whole.
const std::vector<Golden>& golden_vectors();

}  // namespace ullage::formats
