// Casts of FP32 to any small format and to FP32's prefixes, written once for all CPU paths.
//
// Every path keeps 16 running error sums, element i in sum i % 16, so that counts too have the same bits.
#include <bit>
#include <cstddef>
#include <cstdint>

#include "formats/kernels.h"
#include "formats/mx_scale.h"
#include "ullage/formats/random.h"

// Paths: the compiler's baseline, AVX2, AVX-512; what lies between them is not worth its compile time.
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4 | HWY_AVX3_DL)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "formats/cast_kernels.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace ullage::formats::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

using F = hn::CappedTag<float, kRow>;
using U = hn::RebindToUnsigned<F>;
using I = hn::RebindToSigned<F>;
using VF = hn::VFromD<F>;
using VU = hn::VFromD<U>;
using VI = hn::VFromD<I>;
constexpr std::size_t kLanes = hn::MaxLanes(F());
constexpr std::size_t kParts = kRow / kLanes;
// Elements ahead: the next page, where the hardware's own prefetchers stop. A fifth faster, measured.
constexpr std::size_t kPrefetch = 1024;

enum class Body { prefix, nearest, small };

struct Tally {
  std::uint64_t nan = 0;
  std::uint64_t saturated = 0;
  std::uint64_t flushed = 0;
};

// Running sums of the lanes of one part of a row.
struct Sums {
  VF error;
  VI largest;
};

// What values are multiplied by before, and errors after.
struct Scale {
  VF multiplier;
  VF reciprocal;
};

// Codes of one vector of magnitudes, before overflow and NaN are looked at, and the values they stand for.
struct Codes {
  VU code;
  VF value;
};

// The binade of each magnitude, as FP32 bits of its power of two; below the smallest normal number it stays
// there, so subnormals need nothing else. NaN, infinity and all that overflows in any case are one
// binade past the largest, whose codes no number has.
HWY_INLINE VU capped_magnitude(VU magnitude, const CastParameters& p) {
  const I i;
  const VI cap = hn::Set(i, static_cast<std::int32_t>(p.cap));
  return hn::BitCast(U(), hn::Min(hn::BitCast(i, magnitude), cap));
}
HWY_INLINE VU binade(VU capped, const CastParameters& p) {
  const U u;
  return hn::Max(hn::And(capped, hn::Set(u, 0x7F800000)), hn::Set(u, p.least));
}

// |x| + 2^(23 - mantissa_bits) 2^binade: the sum's last place is the format's, so the addition rounds to
// nearest even, and what it adds to the magic number's bits is the significand. The magic number's own
// low bits hold the codes below the binade, so that the sum's low bits are the code.
HWY_INLINE Codes round_nearest(VU magnitude, const CastParameters& p) {
  const F f;
  const U u;
  const VU capped = capped_magnitude(magnitude, p);
  const VU exponent = binade(capped, p);
  const VU magic = hn::Add(hn::Add(exponent, hn::ShiftRightSame(exponent, p.mantissa_shift)),
                           hn::Set(u, p.magic));
  const VF sum = hn::Add(hn::BitCast(f, capped), hn::BitCast(f, magic));
  return {hn::And(hn::BitCast(u, sum), hn::Set(u, 0x7FFFFF)), hn::Sub(sum, hn::BitCast(f, magic))};
}

// The magnitude in units of the format's last place: its whole part is the significand, the fraction decides
// with the random bits, or with a threshold for each sign. Every operation on the way is exact.
template <bool kStochastic>
HWY_INLINE Codes round_small(VU magnitude, VU sign, VU random, const CastParameters& p) {
  const F f;
  const U u;
  const I i;
  const VU capped = capped_magnitude(magnitude, p);
  const VU exponent = binade(capped, p);
  const VF units = hn::Mul(hn::BitCast(f, capped),
                           hn::BitCast(f, hn::Sub(hn::Set(u, p.inverse_unit), exponent)));
  const VF whole = hn::Trunc(units);
  const VF fraction = hn::Sub(units, whole);
  const VF one = hn::Set(f, 1);
  VF carry;
  if constexpr (kStochastic) {
    // fraction + random >= 1, where random and 1 - random are multiples of 2^-23: exact.
    const VU one_to_two = hn::Or(hn::ShiftRight<9>(random), hn::Set(u, 0x3F800000));
    const VF threshold = hn::Sub(hn::Set(f, 2), hn::BitCast(f, one_to_two));
    carry = hn::IfThenElseZero(hn::Ge(fraction, threshold), one);
  } else {
    const VU negative = hn::BitCast(u, hn::ShiftRight<31>(hn::BitCast(i, sign)));
    const VU threshold =
        hn::Xor(hn::Set(u, p.threshold_positive),
                hn::And(negative, hn::Set(u, p.threshold_positive ^ p.threshold_negative)));
    const auto past = hn::Gt(hn::BitCast(i, fraction), hn::BitCast(i, threshold));
    carry = hn::IfThenElseZero(hn::RebindMask(f, past), one);
  }
  const VF rounded = hn::Add(whole, carry);
  // The significand as an integer: the low bits of 2^23 + rounded; 2^23 is in p.base.
  const VU significand = hn::BitCast(u, hn::Add(rounded, hn::Set(f, 8388608.0F)));
  const VU base = hn::Sub(hn::ShiftRightSame(exponent, p.mantissa_shift), hn::Set(u, p.base));
  const VU unit = hn::Sub(exponent, hn::Set(u, static_cast<std::uint32_t>(p.mantissa_bits) << 23));
  return {hn::Add(significand, base), hn::Mul(rounded, hn::BitCast(f, unit))};
}

// FP32's own bits, something added below the last place kept, and cut.
template <bool kStochastic>
HWY_INLINE Codes round_prefix(VU magnitude, VU sign, VU random, const CastParameters& p) {
  const F f;
  const U u;
  const I i;
  VU add;
  if constexpr (kStochastic) {
    add = hn::ShiftRightSame(hn::ShiftRight<1>(random), 31 - p.mantissa_shift);
  } else {
    const VU negative = hn::BitCast(u, hn::ShiftRight<31>(hn::BitCast(i, sign)));
    const VU odd =
        hn::And(hn::ShiftRightSame(magnitude, p.mantissa_shift), hn::Set(u, p.addend_odd));
    add = hn::Xor(hn::Set(u, p.addend_positive),
                  hn::And(negative, hn::Set(u, p.addend_positive ^ p.addend_negative)));
    add = hn::Add(add, odd);
  }
  const VU code = hn::ShiftRightSame(hn::Add(magnitude, add), p.mantissa_shift);
  return {code, hn::BitCast(f, hn::ShiftLeftSame(code, p.mantissa_shift))};
}

// One vector: its codes with sign; adds to the tally, the error sum and the largest magnitude.
template <Body kBody, bool kStochastic, bool kScaled>
HWY_INLINE VU cast_vector(VF x, VU random, Scale scale, const CastParameters& p, Tally& tally,
                          Sums& sums) {
  const F f;
  const U u;
  const I i;
  const VU sign_bit = hn::Set(u, 0x80000000);
  const VU input = hn::AndNot(sign_bit, hn::BitCast(u, x));
  if constexpr (kScaled) x = hn::Mul(x, scale.multiplier);
  const VU bits = hn::BitCast(u, x);
  const VU magnitude = kScaled ? hn::AndNot(sign_bit, bits) : input;
  const VU sign = hn::And(sign_bit, bits);
  Codes codes;
  if constexpr (kBody == Body::nearest) codes = round_nearest(magnitude, p);
  if constexpr (kBody == Body::small) codes = round_small<kStochastic>(magnitude, sign, random, p);
  if constexpr (kBody == Body::prefix)
    codes = round_prefix<kStochastic>(magnitude, sign, random, p);

  // (value | sign) - x
  VF error = hn::Sub(hn::BitCast(f, hn::OrAnd(hn::BitCast(u, codes.value), bits, sign_bit)), x);
  VI largest = hn::BitCast(i, input);
  const auto zero = hn::Eq(codes.code, hn::Zero(u));
  tally.flushed += hn::CountTrue(u, hn::And(zero, hn::Ne(input, hn::Zero(u))));
  const VU coded_sign = hn::ShiftRightSame(bits, p.sign_shift);
  VU code = hn::OrAnd(codes.code, coded_sign, hn::Set(u, p.sign_mask));
  if (p.drops_negative_zero) code = hn::IfThenZeroElse(zero, code);

  const auto over =
      hn::Gt(hn::BitCast(i, codes.code), hn::Set(i, static_cast<std::int32_t>(p.max_code)));
  if (HWY_UNLIKELY(!hn::AllFalse(i, over))) {
    const auto nan = hn::Gt(hn::BitCast(i, magnitude), hn::Set(i, 0x7F800000));
    const auto infinite = hn::Eq(magnitude, hn::Set(u, 0x7F800000));
    const auto negative = hn::Ne(sign, hn::Zero(u));
    const auto saturated = hn::AndNot(hn::RebindMask(u, nan), hn::RebindMask(u, over));
    tally.nan += hn::CountTrue(i, nan);
    tally.saturated += hn::CountTrue(u, saturated);
    const auto choose = [&](std::uint32_t if_positive, std::uint32_t if_negative) HWY_ATTR {
      return hn::IfThenElse(negative, hn::Set(u, if_negative), hn::Set(u, if_positive));
    };
    const VU past = hn::IfThenElse(infinite, choose(p.infinity_positive, p.infinity_negative),
                                   choose(p.overflow_positive, p.overflow_negative));
    code = hn::IfThenElse(saturated, past, code);
    code = hn::IfThenElse(hn::RebindMask(u, nan), choose(p.nan_positive, p.nan_negative), code);
    error = hn::IfThenZeroElse(hn::RebindMask(f, over), error);
    largest = hn::IfThenZeroElse(nan, largest);
  }
  if constexpr (kScaled) error = hn::Mul(error, scale.reciprocal);
  sums.error = hn::Add(sums.error, error);
  sums.largest = hn::Max(sums.largest, largest);
  return code;
}

template <class Code>
HWY_INLINE void store(VU code, Code* to) {
  if constexpr (sizeof(Code) == 4) {
    hn::StoreU(code, U(), to);
  } else {
    const hn::Rebind<Code, U> d;
    hn::StoreU(hn::TruncateTo(d, code), d, to);
  }
}

void clear(Sums (&sums)[kParts]) {
  for (Sums& part : sums) part = {hn::Zero(F()), hn::Zero(I())};
}

// Adds a call's findings; the lanes' errors in their order.
void collect(const Tally& tally, const Sums (&sums)[kParts], BlockCounts& counts) {
  const F f;
  HWY_ALIGN float errors[kRow];
  HWY_ALIGN float largest[kRow];
  for (std::size_t part = 0; part < kParts; ++part) {
    hn::Store(sums[part].error, f, errors + part * kLanes);
    hn::Store(hn::BitCast(f, sums[part].largest), f, largest + part * kLanes);
  }
  double error = 0;
  for (std::size_t lane = 0; lane < kRow; ++lane) {
    error += static_cast<double>(errors[lane]);
    counts.amax = counts.amax < largest[lane] ? largest[lane] : counts.amax;
  }
  counts.error += error;
  counts.nan += tally.nan;
  counts.saturated += tally.saturated;
  counts.flushed += tally.flushed;
}

template <Body kBody, bool kStochastic, bool kScaled, class Code>
void cast_block(const float* HWY_RESTRICT values, std::size_t count,
                const std::uint32_t* HWY_RESTRICT random, const CastParameters& parameters,
                void* HWY_RESTRICT codes, BlockCounts& counts) {
  const CastParameters p = parameters;  // a copy: stores of bytes could change the original
  const U u;
  Code* out = static_cast<Code*>(codes);
  const Scale scale = {hn::Set(F(), p.scale), hn::Set(F(), p.unscale)};
  Tally tally;
  Sums sums[kParts];
  clear(sums);
  for (std::size_t row = 0; row < count; row += kRow) {
    for (std::size_t part = 0; part < kParts; ++part) {
      const std::size_t at = row + part * kLanes;
      __builtin_prefetch(values + at + kPrefetch);
      const VU words = kStochastic ? hn::LoadU(u, random + at) : hn::Zero(u);
      store(cast_vector<kBody, kStochastic, kScaled>(hn::LoadU(F(), values + at), words, scale, p,
                                                     tally, sums[part]),
            out + at);
    }
  }
  collect(tally, sums, counts);
}

HWY_INLINE VI magnitude_of(const float* values) {
  const U u;
  return hn::BitCast(I(),
                     hn::AndNot(hn::Set(u, 0x80000000), hn::BitCast(u, hn::LoadU(F(), values))));
}

std::uint32_t largest_pattern(const float* values, std::size_t count) {
  VI largest = hn::Zero(I());
  std::size_t i = 0;
  for (; i + kLanes <= count; i += kLanes) largest = hn::Max(largest, magnitude_of(values + i));
  std::uint32_t pattern = static_cast<std::uint32_t>(hn::GetLane(hn::MaxOfLanes(I(), largest)));
  for (; i < count; ++i)
    pattern = HWY_MAX(pattern, std::bit_cast<std::uint32_t>(values[i]) & 0x7FFFFFFF);
  return pattern;
}

// A block whose scale is NaN.
void lose_block(const float* values, const CastParameters& p, std::uint8_t* codes, Tally& tally) {
  for (std::size_t i = 0; i < kMxBlock; ++i) {
    const bool nan = values[i] != values[i];
    tally.nan += nan;
    tally.saturated += !nan;
    codes[i] = static_cast<std::uint8_t>(p.nan_positive);
  }
}

template <Body kBody, bool kStochastic>
void cast_mx(const float* HWY_RESTRICT values, std::size_t count,
             const std::uint32_t* HWY_RESTRICT random, const CastParameters& parameters,
             const MxParameters& mx_parameters, std::uint8_t* HWY_RESTRICT scales,
             std::uint8_t* HWY_RESTRICT codes, BlockCounts& counts) {
  const CastParameters p = parameters;
  const MxParameters mx = mx_parameters;
  const F f;
  const U u;
  Tally tally;
  Sums sums[kParts];
  clear(sums);
  for (std::size_t block = 0; block < count; block += kMxBlock) {
    const float* x = values + block;
    VI largest = hn::Zero(I());
    for (std::size_t at = 0; at < kMxBlock; at += kLanes) {
      __builtin_prefetch(x + at + kPrefetch);
      largest = hn::Max(largest, magnitude_of(x + at));
    }
    const auto pattern = static_cast<std::uint32_t>(hn::GetLane(hn::MaxOfLanes(I(), largest)));
    const std::uint32_t code = mx_scale_code(mx, pattern);
    *scales++ = static_cast<std::uint8_t>(code);
    if (HWY_UNLIKELY(code == kE8M0.nan_code())) {
      lose_block(x, p, codes + block, tally);
      continue;
    }
    const Scale scale = {hn::BitCast(f, hn::Set(u, mx_multiplier_pattern(code))),
                         hn::BitCast(f, hn::Set(u, mx_scale_pattern(code)))};
    for (std::size_t row = 0; row < kMxBlock; row += kRow)
      for (std::size_t part = 0; part < kParts; ++part) {
        const std::size_t at = row + part * kLanes;
        const VU words = kStochastic ? hn::LoadU(u, random + block + at) : hn::Zero(u);
        store(cast_vector<kBody, kStochastic, true>(hn::LoadU(f, x + at), words, scale, p, tally,
                                                    sums[part]),
              codes + block + at);
      }
  }
  collect(tally, sums, counts);
}

#if HWY_TARGET == HWY_SCALAR

void fill_random(std::uint64_t seed, std::uint64_t first, std::size_t count, std::uint32_t* words) {
  for (std::size_t group = 0; group < count; group += kRandomGroup)
    for (std::size_t lane = 0; lane < kRandomLanes; ++lane) {
      const PhiloxBlock block = random_block(seed, first + group + lane);
      for (std::size_t word = 0; word < block.size(); ++word)
        words[group + word * kRandomLanes + lane] = block[word];
    }
}

#else

// Each counter has a 64-bit lane, whose upper half holds what the 32 x 32 -> 64 bit products ignore.
void fill_random(std::uint64_t seed, std::uint64_t first, std::size_t count,
                 std::uint32_t* HWY_RESTRICT words) {
  const hn::RepartitionToWide<U> wide;
  using VW = hn::VFromD<decltype(wide)>;
  const U u;
  const auto multiply = [u](VW a, std::uint32_t b)
                            HWY_ATTR { return hn::MulEven(hn::BitCast(u, a), hn::Set(u, b)); };
  const VU iota = hn::Iota(u, 0);
  VW keys[2][kPhiloxRounds];
  for (int round = 0; round < kPhiloxRounds; ++round) {
    const auto turn = static_cast<std::uint32_t>(round);
    keys[0][round] = hn::Set(wide, static_cast<std::uint32_t>(seed) + turn * kPhiloxWeyl0);
    keys[1][round] = hn::Set(wide, static_cast<std::uint32_t>(seed >> 32) + turn * kPhiloxWeyl1);
  }
  for (std::size_t group = 0; group < count; group += kRandomGroup) {
    const std::uint64_t counter = (first + group) / kRandomGroup * kRandomLanes;
    for (std::size_t part = 0; part < kParts; ++part) {
      // 16 divides 2^32, so the counter's upper half is the same for all lanes of a group.
      const VW lanes = hn::BitCast(
          wide, hn::Add(iota, hn::Set(u, static_cast<std::uint32_t>(counter + part * kLanes))));
      VW results[2][4];
      for (int odd = 0; odd < 2; ++odd) {
        VW c0 = odd == 0 ? lanes : hn::ShiftRight<32>(lanes);
        VW c1 = hn::Set(wide, counter >> 32);
        VW c2 = hn::Zero(wide);
        VW c3 = hn::Zero(wide);
        for (int round = 0; round < kPhiloxRounds; ++round) {
          const VW product0 = multiply(c0, kPhiloxMultiplier0);
          const VW product1 = multiply(c2, kPhiloxMultiplier1);
          c0 = hn::Xor3(hn::ShiftRight<32>(product1), c1, keys[0][round]);
          c2 = hn::Xor3(hn::ShiftRight<32>(product0), c3, keys[1][round]);
          c1 = product1;
          c3 = product0;
        }
        const VW ends[4] = {c0, c1, c2, c3};
        for (int word = 0; word < 4; ++word) results[odd][word] = ends[word];
      }
      for (std::size_t word = 0; word < 4; ++word) {
        const VU merged = hn::OddEven(hn::BitCast(u, hn::ShiftLeft<32>(results[1][word])),
                                      hn::BitCast(u, results[0][word]));
        hn::StoreU(merged, u, words + group + word * kRandomLanes + part * kLanes);
      }
    }
  }
}

#endif  // HWY_TARGET == HWY_SCALAR

#define ULLAGE_CAST_KERNELS(...)                                                  \
  {cast_block<__VA_ARGS__, std::uint8_t>, cast_block<__VA_ARGS__, std::uint16_t>, \
   cast_block<__VA_ARGS__, std::uint32_t>}

}  // namespace

const CastKernels& kernels() {
  static constexpr CastKernels kTable = {
      ULLAGE_CAST_KERNELS(Body::prefix, false, false),
      ULLAGE_CAST_KERNELS(Body::prefix, true, false),
      ULLAGE_CAST_KERNELS(Body::nearest, false, false),
      ULLAGE_CAST_KERNELS(Body::small, false, false),
      ULLAGE_CAST_KERNELS(Body::small, true, false),
      ULLAGE_CAST_KERNELS(Body::nearest, false, true),
      ULLAGE_CAST_KERNELS(Body::small, false, true),
      ULLAGE_CAST_KERNELS(Body::small, true, true),
      cast_mx<Body::nearest, false>,
      cast_mx<Body::small, false>,
      cast_mx<Body::small, true>,
      fill_random,
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
