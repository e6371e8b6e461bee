#include "checkpoint/decode.h"

#include <array>
#include <bit>
#include <cstdint>

#include "ullage/formats/cast.h"
#include "ullage/formats/scalar.h"

namespace ullage::checkpoint {
namespace {

template <class Stored>
std::span<const Stored> view(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const Stored*>(bytes.data()), bytes.size() / sizeof(Stored)};
}

// What each code of an 8-bit format stands for; float holds all of them exactly. Kept, because a scaled
// weight is decoded in short pieces.
template <const formats::Format& format>
const std::array<float, 256>& table_of() {
  static const std::array<float, 256> table = [] {
    std::array<float, 256> values{};
    for (std::uint32_t code = 0; code < 256; ++code)
      values[code] = static_cast<float>(formats::decode(format, code));
    return values;
  }();
  return table;
}

template <class Number>
Status decode_as(Dtype dtype, std::span<const std::byte> bytes, std::span<Number> out) {
  const auto convert = [&](auto stored) {
    for (std::size_t i = 0; i < out.size(); ++i) out[i] = static_cast<Number>(stored[i]);
    return Status();
  };
  const auto look_up = [&](const std::array<float, 256>& table) {
    for (std::size_t i = 0; i < out.size(); ++i)
      out[i] = table[std::to_integer<std::size_t>(bytes[i])];
    return Status();
  };
  switch (dtype) {
    case Dtype::f64:
      return convert(view<double>(bytes));
    case Dtype::f32:
      return convert(view<float>(bytes));
    case Dtype::bf16: {
      const auto codes = view<std::uint16_t>(bytes);
      for (std::size_t i = 0; i < out.size(); ++i)
        out[i] = std::bit_cast<float>(std::uint32_t{codes[i]} << 16);
      return {};
    }
    case Dtype::f16:
      return formats::decode(formats::kFp16, view<std::uint16_t>(bytes), out);
    case Dtype::f8_e4m3:
      return look_up(table_of<formats::kE4M3>());
    case Dtype::f8_e5m2:
      return look_up(table_of<formats::kE5M2>());
    case Dtype::f8_e4m3fnuz:
      return look_up(table_of<formats::kE4M3Fnuz>());
    case Dtype::f8_e5m2fnuz:
      return look_up(table_of<formats::kE5M2Fnuz>());
    case Dtype::f8_e8m0:
      return look_up(table_of<formats::kE8M0>());
    default:
      return Error{
          Code::dtype_unsupported, "this type holds no real numbers", name_of(dtype), {}, {}};
  }
}

}  // namespace

Status decode(Dtype dtype, std::span<const std::byte> bytes, std::span<float> out) {
  return decode_as(dtype, bytes, out);
}

Status decode(Dtype dtype, std::span<const std::byte> bytes, std::span<double> out) {
  return decode_as(dtype, bytes, out);
}

}  // namespace ullage::checkpoint
