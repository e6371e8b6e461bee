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
template <Body kBody, bool kStochastic, Scaling kScaling, class Code>
HWY_INLINE std::size_t cast_groups(const float* HWY_RESTRICT values, std::size_t at,
                                   std::size_t count, const std::uint32_t* HWY_RESTRICT random,
                                   const CastParameters& p, Sums& sums_in_memory,
                                   Code* HWY_RESTRICT out) {
  const F f;
  const I i;
  const Scale scale = uniform_scale(p.scale, p.unscale);
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
      if constexpr (kScaling != Scaling::none)
        scaled_largest = hn::Max(scaled_largest, magnitude_of(hn::Mul(x, scale.multiplier[0])));
    }
    if (HWY_UNLIKELY(
            !hn::AllFalse(i, hn::Gt(kScaling != Scaling::none ? scaled_largest : largest, safe))))
      break;
    sums.largest = hn::Max(sums.largest, largest);
    cast_group<kBody, kStochastic, kScaling>(values + at, kStochastic ? random + at : nullptr,
                                             scale, p, k, sums, out + at);
  }
  sums_in_memory = sums;
  return at;
}

template <Body kBody, bool kStochastic, Scaling kScaling, class Code>
void cast_block(const float* HWY_RESTRICT values, std::size_t count,
                const std::uint32_t* HWY_RESTRICT random, const CastParameters& parameters,
                void* HWY_RESTRICT codes, BlockCounts& counts) {
  // A copy that no call sees: stores of bytes could change one that another function knows.
  const CastParameters p = parameters;
  Code* out = static_cast<Code*>(codes);
  const Scale scale = uniform_scale(p.scale, p.unscale);
  Tally tally;
  Sums sums;
  clear(sums);
  const auto exactly = [&](std::size_t at, std::size_t length) HWY_ATTR {
    cast_group_exactly<kBody, kStochastic, kScaling, Code>(
        values + at, length, kStochastic ? random + at : nullptr, scale, parameters, tally, sums,
        out + at);
  };
  std::size_t at = 0;
  while (at + kGroup <= count) {
    at = cast_groups<kBody, kStochastic, kScaling>(values, at, count, random, p, sums, out);
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

void largest_of_rows(const float* HWY_RESTRICT values, std::size_t count,
                     std::uint32_t* HWY_RESTRICT patterns) {
  for (std::size_t row = 0; row < count / kRow; ++row) {
    const float* x = values + row * kRow;
    __builtin_prefetch(x + kPrefetch);
    VI largest = magnitude_of(hn::LoadU(F(), x));
    for (std::size_t v = 1; v < kParts; ++v)
      largest = hn::Max(largest, magnitude_of(hn::LoadU(F(), x + v * kLanes)));
    patterns[row] = static_cast<std::uint32_t>(hn::GetLane(hn::MaxOfLanes(I(), largest)));
  }
}

// As cast_block, each row under a multiplier of its own.
template <Body kBody, bool kStochastic>
void cast_rows(const float* HWY_RESTRICT values, std::size_t count,
               const std::uint32_t* HWY_RESTRICT random, const CastParameters& parameters,
               const float* HWY_RESTRICT multipliers, const float* HWY_RESTRICT reciprocals,
               std::uint8_t* HWY_RESTRICT codes, BlockCounts& counts) {
  const CastParameters p = parameters;
  const F f;
  const I i;
  const Constants k = constants(p);
  const VI safe = hn::Set(i, static_cast<std::int32_t>(p.safe));
  Tally tally;
  Sums sums;
  clear(sums);
  for (std::size_t at = 0; at < count; at += kGroup) {
    const std::size_t row = at / kRow;
    const std::size_t next = at + kRow < count ? row + 1 : row;
    const Scale scale = {{hn::Set(f, multipliers[row]), hn::Set(f, multipliers[next])},
                         {hn::Set(f, reciprocals[row]), hn::Set(f, reciprocals[next])}};
    bool short_way = next != row;
    if (short_way) {
      VI largest = hn::Zero(i);
      VI scaled_largest = hn::Zero(i);
      for (std::size_t v = 0; v < kVectors; ++v) {
        const VF x = hn::LoadU(f, values + at + v * kLanes);
        largest = hn::Max(largest, magnitude_of(x));
        scaled_largest =
            hn::Max(scaled_largest, magnitude_of(hn::Mul(x, scale.multiplier[v / kParts])));
      }
      short_way = hn::AllFalse(i, hn::Gt(scaled_largest, safe));
      if (short_way) sums.largest = hn::Max(sums.largest, largest);
    }
    const std::uint32_t* words = kStochastic ? random + at : nullptr;
    if (HWY_LIKELY(short_way)) {
      cast_group<kBody, kStochastic, Scaling::rows>(values + at, words, scale, p, k, sums,
                                                    codes + at);
    } else {
      Sums in_memory = sums;
      cast_group_exactly<kBody, kStochastic, Scaling::rows>(
          values + at, HWY_MIN(kGroup, count - at), words, scale, parameters, tally, in_memory,
          codes + at);
      sums = in_memory;
    }
  }
  collect<std::uint8_t>(tally, sums, counts);
}

#define ULLAGE_CAST_KERNELS(...)                                                  \
  {cast_block<__VA_ARGS__, std::uint8_t>, cast_block<__VA_ARGS__, std::uint16_t>, \
   cast_block<__VA_ARGS__, std::uint32_t>}

}  // namespace

const CastKernels& kernels() {
  static constexpr CastKernels kTable = {
      ULLAGE_CAST_KERNELS(Body::prefix_nearest, false, Scaling::none),
      ULLAGE_CAST_KERNELS(Body::prefix, false, Scaling::none),
      ULLAGE_CAST_KERNELS(Body::prefix, true, Scaling::none),
      ULLAGE_CAST_KERNELS(Body::nearest, false, Scaling::none),
      ULLAGE_CAST_KERNELS(Body::small, false, Scaling::none),
      ULLAGE_CAST_KERNELS(Body::small, true, Scaling::none),
      ULLAGE_CAST_KERNELS(Body::nearest, false, Scaling::group),
      ULLAGE_CAST_KERNELS(Body::small, false, Scaling::group),
      ULLAGE_CAST_KERNELS(Body::small, true, Scaling::group),
      largest_pattern,
      largest_of_rows,
      cast_rows<Body::nearest, false>,
      cast_rows<Body::small, false>,
      cast_rows<Body::small, true>,
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
