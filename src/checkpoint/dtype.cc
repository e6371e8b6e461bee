#include "ullage/checkpoint/dtype.h"

#include <array>

namespace ullage::checkpoint {
namespace {

struct Row {
  const char* name;
  unsigned bits;
  bool real;
};

// In the order of Dtype. Names and widths: safetensors' format description.
constexpr std::array<Row, 22> kRows = {{
    {"BOOL", 8, false},   {"F4", 4, false},         {"F6_E2M3", 6, false},    {"F6_E3M2", 6, false},
    {"U8", 8, false},     {"I8", 8, false},         {"F8_E5M2", 8, true},     {"F8_E4M3", 8, true},
    {"F8_E8M0", 8, true}, {"F8_E4M3FNUZ", 8, true}, {"F8_E5M2FNUZ", 8, true}, {"I16", 16, false},
    {"U16", 16, false},   {"F16", 16, true},        {"BF16", 16, true},       {"I32", 32, false},
    {"U32", 32, false},   {"F32", 32, true},        {"C64", 64, false},       {"F64", 64, true},
    {"I64", 64, false},   {"U64", 64, false},
}};

const Row& row(Dtype dtype) { return kRows[static_cast<std::size_t>(dtype)]; }

}  // namespace

const char* name_of(Dtype dtype) { return row(dtype).name; }

std::optional<Dtype> dtype_from_name(std::string_view name) {
  for (std::size_t i = 0; i < kRows.size(); ++i)
    if (name == kRows[i].name) return static_cast<Dtype>(i);
  return std::nullopt;
}

unsigned bits_of(Dtype dtype) { return row(dtype).bits; }

bool is_real(Dtype dtype) { return row(dtype).real; }

bool is_fp8(Dtype dtype) {
  return dtype == Dtype::f8_e4m3 || dtype == Dtype::f8_e5m2 || dtype == Dtype::f8_e4m3fnuz ||
         dtype == Dtype::f8_e5m2fnuz;
}

}  // namespace ullage::checkpoint
