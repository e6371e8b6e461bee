// MX blocks of FP32 to a small format, written once for all CPU paths.
//
// A call looks at all its blocks first: their scales, and whether anything in them overflows. Blocks in which nothing
// does come next, then those in which something saturates, then what is left (NaN, infinity), so that no branch has to
// guess which is which; error sums follow that order.
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "formats/kernels.h"
#include "formats/mx_scale.h"

#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4 | HWY_AVX3_DL)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "formats/mx_kernels.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "formats/cast_vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ullage::formats::HWY_NAMESPACE {
namespace {

static_assert(kGroup == kMxBlock);
constexpr std::size_t kMostBlocks = kBlock / kMxBlock;

// The pattern of a block's largest magnitude.
HWY_INLINE std::uint32_t largest_of_block(const float* values) {
  const F f;
  VI largest = hn::Zero(I());
  for (std::size_t v = 0; v < kMxBlock; v += kLanes) {
    if (v % kRow == 0) __builtin_prefetch(values + v + kPrefetch);
    largest = hn::Max(largest, magnitude_of(hn::LoadU(f, values + v)));
  }
  return static_cast<std::uint32_t>(hn::GetLane(hn::MaxOfLanes(I(), largest)));
}

// The scales of a call's blocks, kLanes blocks at a time: mx_scale.h in vectors.
struct BlockScales {
  HWY_ALIGN std::array<std::uint32_t, kMostBlocks> patterns;  // of the largest magnitudes
  HWY_ALIGN std::array<std::uint32_t, kMostBlocks> codes;
  // Floats in memory, from where they fill a vector for nothing.
  HWY_ALIGN std::array<float, kMostBlocks> multipliers;
  HWY_ALIGN std::array<float, kMostBlocks> reciprocals;
  std::uint64_t overflowing = 0;  // a bit a block
  std::uint64_t clipping = 0;     // those of them in which nothing else is wrong
  std::uint32_t largest =
      0;  // pattern of the largest magnitude but in blocks that the exact way takes
};

HWY_INLINE VI scale_codes(VI pattern, const MxParameters& mx) {
  const F f;
  const I i;
  const VI most = hn::Set(i, 0xFE);
  const VI infinity = hn::Set(i, 0x7F800000);
  VI code;
  if (mx.by_reciprocal) {
    const VI product = hn::BitCast(i, hn::Mul(hn::BitCast(f, pattern), hn::Set(f, mx.reciprocal)));
    const VI exponent = hn::ShiftRight<23>(product);
    const VI mantissa = hn::And(product, hn::Set(i, 0x7FFFFF));
    // Up where the mantissa is past this: zero, or for what has no exponent 2^-127's.
    const VI exact = hn::IfThenElseZero(hn::Eq(exponent, hn::Zero(i)), hn::Set(i, 0x400000));
    code = hn::Sub(exponent, hn::VecFromMask(i, hn::Gt(mantissa, exact)));
    code = hn::Min(code, most);
  } else {
    code = hn::BitCast(
        i, hn::ShiftRight<23>(hn::BitCast(
               U(), hn::Add(pattern, hn::Set(i, static_cast<std::int32_t>(mx.addend))))));
    code = hn::Sub(code, hn::Set(i, mx.emax));
    code = hn::Min(hn::Max(code, hn::Zero(i)), most);
  }
  const VI of_infinity = mx.by_reciprocal ? most : hn::Set(i, 0xFF);
  code = hn::IfThenElse(hn::Eq(pattern, infinity), of_infinity, code);
  return hn::IfThenElse(hn::Gt(pattern, infinity), hn::Set(i, 0xFF), code);
}

// A bit for each true lane.
template <class Mask>
HWY_INLINE std::uint64_t bits_of(Mask mask) {
  HWY_ALIGN std::uint8_t bits[8] = {};
  hn::StoreMaskBits(I(), mask, bits);
  return bits[0] | std::uint64_t{bits[1]} << 8;
}

void choose_scales(const MxParameters& mx, const CastParameters& p, std::size_t blocks,
                   BlockScales& scales) {
  const F f;
  const I i;
  const VI subnormal = hn::Set(i, 0x00400000);  // 2^-127
  const VI nan = hn::Set(i, 0x7FC00000);
  VI largest = hn::Zero(i);
  for (std::size_t block = 0; block < blocks; block += kLanes) {
    const VI pattern = hn::BitCast(i, hn::Load(U(), scales.patterns.data() + block));
    const VI code = scale_codes(pattern, mx);
    const auto lost = hn::Eq(code, hn::Set(i, 0xFF));
    const VI opposite = hn::Sub(hn::Set(i, 0xFE), code);
    VI multiplier =
        hn::IfThenElse(hn::Eq(opposite, hn::Zero(i)), subnormal, hn::ShiftLeft<23>(opposite));
    VI reciprocal = hn::IfThenElse(hn::Eq(code, hn::Zero(i)), subnormal, hn::ShiftLeft<23>(code));
    multiplier = hn::IfThenElse(lost, nan, multiplier);
    reciprocal = hn::IfThenElse(lost, nan, reciprocal);
    const VI scaled = magnitude_of(hn::Mul(hn::BitCast(f, pattern), hn::BitCast(f, multiplier)));
    const auto overflows = hn::Gt(scaled, hn::Set(i, static_cast<std::int32_t>(p.safe)));
    // Less than twice the power of two that holds the largest value: saturates, and no more.
    const auto clips =
        hn::And(overflows, hn::Lt(scaled, hn::Set(i, static_cast<std::int32_t>(p.cap))));
    largest = hn::Max(largest, hn::IfThenElseZero(hn::Or(clips, hn::Not(overflows)), pattern));
    hn::Store(hn::BitCast(U(), code), U(), scales.codes.data() + block);
    hn::Store(hn::BitCast(f, multiplier), f, scales.multipliers.data() + block);
    hn::Store(hn::BitCast(f, reciprocal), f, scales.reciprocals.data() + block);
    scales.overflowing |= bits_of(overflows) << block;
    scales.clipping |= bits_of(clips) << block;
  }
  scales.largest = static_cast<std::uint32_t>(hn::GetLane(hn::MaxOfLanes(i, largest)));
}

// A block whose scale is NaN. Its largest magnitude counts, NaN left out.
void lose_block(const float* values, const CastParameters& p, std::uint8_t* codes, Tally& tally,
                Sums& sums) {
  std::int32_t largest = 0;
  for (std::size_t i = 0; i < kMxBlock; ++i) {
    const bool nan = values[i] != values[i];
    tally.nan += nan;
    tally.saturated += !nan;
    codes[i] = static_cast<std::uint8_t>(p.nan_positive);
    const auto magnitude = std::bit_cast<std::int32_t>(values[i]) & 0x7FFFFFFF;
    if (!nan && magnitude > largest) largest = magnitude;
  }
  sums.largest = hn::Max(sums.largest, hn::Set(I(), largest));
}

template <Body kBody, bool kStochastic>
void cast_mx(const float* HWY_RESTRICT values, std::size_t count,
             const std::uint32_t* HWY_RESTRICT random, const CastParameters& parameters,
             const MxParameters& mx, std::uint8_t* HWY_RESTRICT scales,
             std::uint8_t* HWY_RESTRICT codes, BlockCounts& counts) {
  static_assert(kMostBlocks == 64 && kMostBlocks % kLanes == 0);
  const std::size_t blocks = count / kMxBlock;
  BlockScales found;
  for (std::size_t block = 0; block < blocks; ++block)
    found.patterns[block] = largest_of_block(values + block * kMxBlock);
  for (std::size_t block = blocks; block % kLanes != 0; ++block) found.patterns[block] = 0;
  choose_scales(mx, parameters, blocks, found);
  for (std::size_t block = 0; block < blocks; ++block)
    scales[block] = static_cast<std::uint8_t>(found.codes[block]);
  const auto scale_of = [&](std::size_t block) HWY_ATTR {
    return uniform_scale(found.multipliers[block], found.reciprocals[block]);
  };

  Tally tally;
  Sums sums;
  clear(sums);
  sums.largest = hn::Set(I(), static_cast<std::int32_t>(found.largest));
  // All that it knows of overflow is the largest value.
  const std::uint64_t clipping =
      kBody == Body::nearest && parameters.overflow_positive == parameters.max_code ? found.clipping
                                                                                    : 0;
  const std::uint64_t all = blocks == 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << blocks) - 1;
  {
    const CastParameters p = parameters;  // as in cast_kernels.cc
    const Constants k = constants(p);
    Sums registers = sums;
    for (std::uint64_t left = all & ~found.overflowing; left != 0; left &= left - 1) {
      const auto block = static_cast<std::size_t>(std::countr_zero(left));
      const std::size_t at = block * kMxBlock;
      cast_group<kBody, kStochastic, Scaling::group>(values + at,
                                                     kStochastic ? random + at : nullptr,
                                                     scale_of(block), p, k, registers, codes + at);
    }
    if constexpr (kBody == Body::nearest) {
      VI clipped = hn::Zero(I());
      for (std::uint64_t left = all & clipping; left != 0; left &= left - 1) {
        const auto block = static_cast<std::size_t>(std::countr_zero(left));
        const std::size_t at = block * kMxBlock;
        cast_group_clipping<Scaling::group>(values + at, scale_of(block), p, k, registers, clipped,
                                            codes + at);
      }
      tally.saturated += static_cast<std::uint64_t>(hn::GetLane(hn::SumOfLanes(I(), clipped)));
    }
    sums = registers;
  }
  for (std::uint64_t left = all & found.overflowing & ~clipping; left != 0; left &= left - 1) {
    const auto block = static_cast<std::size_t>(std::countr_zero(left));
    const std::size_t at = block * kMxBlock;
    if (scales[block] == kE8M0.nan_code())
      lose_block(values + at, parameters, codes + at, tally, sums);
    else
      cast_group_exactly<kBody, kStochastic, Scaling::group>(
          values + at, kMxBlock, kStochastic ? random + at : nullptr, scale_of(block), parameters,
          tally, sums, codes + at);
  }
  collect<std::uint8_t>(tally, sums, counts);
}

}  // namespace

const MxKernels& mx_kernels() {
  static constexpr MxKernels kTable = {cast_mx<Body::nearest, false>, cast_mx<Body::small, false>,
                                       cast_mx<Body::small, true>};
  return kTable;
}

}  // namespace ullage::formats::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ullage::formats {

const MxKernels& mx_kernels(CpuPath path) {
#if HWY_TARGETS & HWY_AVX3
  if (path >= CpuPath::avx512) return N_AVX3::mx_kernels();
#endif
#if HWY_TARGETS & HWY_AVX2
  if (path >= CpuPath::avx2) return N_AVX2::mx_kernels();
#endif
  (void)path;
  return HWY_STATIC_DISPATCH(mx_kernels)();
}

}  // namespace ullage::formats
#endif
