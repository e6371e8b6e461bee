#include "formats/decode.h"

#include <bit>
#include <cstring>

#include "ullage/formats/scalar.h"
#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace ullage::formats {
namespace {

template <class Code>
Code load(const void* codes, std::size_t i) {
  Code code;
  std::memcpy(&code, static_cast<const char*>(codes) + i * sizeof(Code), sizeof(Code));
  return code;
}

// FP32's pattern with every NaN made the positive quiet one, as decode() gives it.
float with_one_nan(std::uint32_t bits) {
  return std::bit_cast<float>((bits & 0x7FFFFFFF) > 0x7F800000 ? 0x7FC00000U : bits);
}

#if defined(__x86_64__)
// The elements that fill whole vectors; returns how many.
__attribute__((target("avx,f16c"))) std::size_t decode_halves(const void* codes, std::size_t count,
                                                              float* values) noexcept {
  const __m256 quiet_nan = _mm256_castsi256_ps(_mm256_set1_epi32(0x7FC00000));
  std::size_t i = 0;
  for (; i + 8 <= count; i += 8) {
    const auto* from = reinterpret_cast<const __m128i*>(static_cast<const char*>(codes) + i * 2);
    const __m256 x = _mm256_cvtph_ps(_mm_loadu_si128(from));
    const __m256 nan = _mm256_cmp_ps(x, x, _CMP_UNORD_Q);
    _mm256_storeu_ps(values + i, _mm256_blendv_ps(x, quiet_nan, nan));
  }
  return i;
}
#endif

}  // namespace

Decoder::Decoder(const Format& format, CpuPath path) : format_(format), path_(path) {
  if (format.bytes() != 1) return;
  for (std::uint32_t code = 0; code < table_.size(); ++code)
    table_[code] = static_cast<float>(decode(format, code));
}

void Decoder::run(const void* codes, std::size_t count, float* values) const noexcept {
  if (format_.bytes() == 1) {
    const auto* bytes = static_cast<const std::uint8_t*>(codes);
    for (std::size_t i = 0; i < count; ++i) values[i] = table_[bytes[i]];
  } else if (format_ == kBf16) {
    for (std::size_t i = 0; i < count; ++i)
      values[i] = with_one_nan(std::uint32_t{load<std::uint16_t>(codes, i)} << 16);
  } else if (format_ == kFp32) {
    for (std::size_t i = 0; i < count; ++i) values[i] = with_one_nan(load<std::uint32_t>(codes, i));
  } else if (format_.bytes() == 2) {
    std::size_t i = 0;
#if defined(__x86_64__)
    if (format_ == kFp16 && path_ >= CpuPath::avx2) i = decode_halves(codes, count, values);
#endif
    for (; i < count; ++i)
      values[i] = static_cast<float>(decode(format_, load<std::uint16_t>(codes, i)));
  } else {
    for (std::size_t i = 0; i < count; ++i)
      values[i] = static_cast<float>(decode(format_, load<std::uint32_t>(codes, i)));
  }
}

}  // namespace ullage::formats
