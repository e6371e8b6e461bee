// The element types that safetensors names, and which of them can hold weights.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace ullage::checkpoint {

enum class Dtype : std::uint8_t {
  boolean,
  f4,
  f6_e2m3,
  f6_e3m2,
  u8,
  i8,
  f8_e5m2,
  f8_e4m3,
  f8_e8m0,
  f8_e4m3fnuz,
  f8_e5m2fnuz,
  i16,
  u16,
  f16,
  bf16,
  i32,
  u32,
  f32,
  c64,
  f64,
  i64,
  u64,
};

// As the file spells it ("BF16"); names are case-sensitive.
const char* name_of(Dtype dtype);
std::optional<Dtype> dtype_from_name(std::string_view name);

// Bits of one element: 4, 6, 8, 16, 32 or 64.
unsigned bits_of(Dtype dtype);

// F64, F32, F16, BF16 and the five 8-bit floats: what decode.h turns into numbers. F4 and F6 are
// packed with scales of their own, integers and booleans are codes: none of them is a weight by
// itself.
bool is_real(Dtype dtype);

// F8_E4M3, F8_E5M2 and their FNUZ kin: weights that a scale tensor may accompany.
bool is_fp8(Dtype dtype);

}  // namespace ullage::checkpoint
