// Casts of FP32 to any small format and to FP32's prefixes, written once for all CPU paths.
//
// Every path keeps the same 16 running error sums, so that counts too have the same bits.
#include <bit>
#include <cstddef>
#include <cstdint>

#include "formats/kernels.h"

// Paths: the compiler's baseline, AVX2, AVX-512; what lies between them is not worth its compile time.
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4 | HWY_AVX3_DL)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "formats/cast_kernels.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "formats/cast_vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ullage::formats::HWY_NAMESPACE {
namespace {

// Groups from `at` on until one has something that may overflow; where that begins.
template <Body kBody, bool kStochastic, bool kScaled, class Code>
HWY_INLINE std::size_t cast_groups(const float* HWY_RESTRICT values, std::size_t at,
                                   std::size_t count, const std::uint32_t* HWY_RESTRICT random,
                                   const CastParameters& p, Sums& sums_in_memory,
                                   Code* HWY_RESTRICT out) {
  const F f;
  const I i;
  const Scale scale = {hn::Set(f, p.scale), hn::Set(f, p.unscale)};
  const VI safe = hn::Set(i, static_cast<std::int32_t>(p.safe));
  const Constants k = constants(p);
  Sums sums = sums_in_memory;  // registers
  for (; at + kGroup <= count; at += kGroup) {
    VI largest = hn::Zero(i);
    VI scaled_largest = hn::Zero(i);
    for (std::size_t v = 0; v < kGroup; v += kLanes) {
      if (v % kRow == 0) __builtin_prefetch(values + at + v + kPrefetch);
      const VF x = hn::LoadU(f, values + at + v);
      largest = hn::Max(largest, magnitude_of(x));
      if constexpr (kScaled)
        scaled_largest = hn::Max(scaled_largest, magnitude_of(hn::Mul(x, scale.multiplier)));
    }
    if (HWY_UNLIKELY(!hn::AllFalse(i, hn::Gt(kScaled ? scaled_largest : largest, safe)))) break;
    sums.largest = hn::Max(sums.largest, largest);
    cast_group<kBody, kStochastic, kScaled>(values + at, kStochastic ? random + at : nullptr, scale,
                                            p, k, sums, out + at);
  }
  sums_in_memory = sums;
  return at;
}

template <Body kBody, bool kStochastic, bool kScaled, class Code>
void cast_block(const float* HWY_RESTRICT values, std::size_t count,
                const std::uint32_t* HWY_RESTRICT random, const CastParameters& parameters,
                void* HWY_RESTRICT codes, BlockCounts& counts) {
  // A copy that no call sees: stores of bytes could change one that another function knows.
  const CastParameters p = parameters;
  const F f;
  Code* out = static_cast<Code*>(codes);
  const Scale scale = {hn::Set(f, p.scale), hn::Set(f, p.unscale)};
  Tally tally;
  Sums sums;
  clear(sums);
  const auto exactly = [&](std::size_t at, std::size_t length) HWY_ATTR {
    cast_group_exactly<kBody, kStochastic, kScaled, Code>(values + at, length,
                                                          kStochastic ? random + at : nullptr,
                                                          scale, parameters, tally, sums, out + at);
  };
  std::size_t at = 0;
  while (at + kGroup <= count) {
    at = cast_groups<kBody, kStochastic, kScaled>(values, at, count, random, p, sums, out);
    if (at + kGroup > count) break;
    exactly(at, kGroup);
    at += kGroup;
  }
  if (at < count) exactly(at, count - at);
  collect<Code>(tally, sums, counts);
}

std::uint32_t largest_pattern(const float* values, std::size_t count) {
  const F f;
  VI largest = hn::Zero(I());
  std::size_t i = 0;
  for (; i + kLanes <= count; i += kLanes)
    largest = hn::Max(largest, magnitude_of(hn::LoadU(f, values + i)));
  std::uint32_t pattern = static_cast<std::uint32_t>(hn::GetLane(hn::MaxOfLanes(I(), largest)));
  for (; i < count; ++i)
    pattern = HWY_MAX(pattern, std::bit_cast<std::uint32_t>(values[i]) & 0x7FFFFFFF);
  return pattern;
}

#define ULLAGE_CAST_KERNELS(...)                                                  \
  {cast_block<__VA_ARGS__, std::uint8_t>, cast_block<__VA_ARGS__, std::uint16_t>, \
   cast_block<__VA_ARGS__, std::uint32_t>}

}  // namespace

const CastKernels& kernels() {
  static constexpr CastKernels kTable = {
      ULLAGE_CAST_KERNELS(Body::prefix_nearest, false, false),
      ULLAGE_CAST_KERNELS(Body::prefix, false, false),
      ULLAGE_CAST_KERNELS(Body::prefix, true, false),
      ULLAGE_CAST_KERNELS(Body::nearest, false, false),
      ULLAGE_CAST_KERNELS(Body::small, false, false),
      ULLAGE_CAST_KERNELS(Body::small, true, false),
      ULLAGE_CAST_KERNELS(Body::nearest, false, true),
      ULLAGE_CAST_KERNELS(Body::small, false, true),
      ULLAGE_CAST_KERNELS(Body::small, true, true),
      largest_pattern,
  };
  return kTable;
}

#undef ULLAGE_CAST_KERNELS

}  // namespace ullage::formats::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ullage::formats {

const CastKernels& cast_kernels(CpuPath path) {
#if HWY_TARGETS & HWY_AVX3
  if (path >= CpuPath::avx512) return N_AVX3::kernels();
#endif
#if HWY_TARGETS & HWY_AVX2
  if (path >= CpuPath::avx2) return N_AVX2::kernels();
#endif
  (void)path;
  return HWY_STATIC_DISPATCH(kernels)();
}

}  // namespace ullage::formats
#endif
