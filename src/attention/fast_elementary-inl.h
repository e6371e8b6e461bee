// 2^x and tanh on vectors. Polynomials are minimax fits of the relative error, coefficients rounded to
// FP32. The including file has included its vectors and defines kPowerTerms.
#pragma once

#include <array>

#include "attention/fast_kernels.h"

namespace ullage::attention {

namespace {

// 2^f - 1 = f (c0 + c1 f + ...) on [0, 1]. 5 terms: 2^-23.5, far below BF16's 2^-8; 6: 2^-28.9, which
// leaves FP32's own roundings.
template <int kTerms>
inline constexpr std::array<float, kTerms> kPower = {};
template <>
inline constexpr std::array<float, 5> kPower<5> = {0x1.62e4bap-1F, 0x1.ebdb56p-3F, 0x1.c91ce6p-5F,
                                                   0x1.277854p-7F, 0x1.e974fep-10F};
template <>
inline constexpr std::array<float, 6> kPower<6> = {0x1.62e42cp-1F,  0x1.ebfd58p-3F,
                                                   0x1.c68912p-5F,  0x1.3d0b92p-7F,
                                                   0x1.46d64cp-10F, 0x1.c54176p-13F};

// 2^x for x < 128; -infinity gives 0, NaN NaN, an integer the exact power.
ULLAGE_INLINE Floats power_of_2(Floats x) {
  const Floats f = fraction_of(x);
  constexpr const std::array<float, kPowerTerms>& kTerms = kPower<kPowerTerms>;
  Floats value = all(kTerms[kPowerTerms - 1]);
#pragma GCC unroll 8
  for (int i = kPowerTerms - 2; i >= 0; --i) value = fma(value, f, all(kTerms[i]));
  return scale_by_power(fma(value, f, all(1.0F)), x);
}

// x + x^3 q(x^2) up to 0.6 (2^-28.4), 1 - 2 / (exp(2 |x|) + 1) above, where it is not below 0.53.
ULLAGE_INLINE Floats tanh_of(Floats x) {
  const Floats z = mul(x, x);
  Floats q = all(-0x1.8258360000000p-8F);
  q = fma(q, z, all(0x1.54b89ap-6F));
  q = fma(q, z, all(-0x1.b898dep-5F));
  q = fma(q, z, all(0x1.1109aep-3F));
  q = fma(q, z, all(-0x1.55553ep-2F));
  const Floats near = fma(mul(x, z), q, x);
  constexpr float kTwiceLog2E = 2.88539008F;
  const Floats size = min(all(20.0F), abs(x));  // NaN stays
  const Floats power = power_of_2(mul(size, all(kTwiceLog2E)));
  const Floats far = sub(all(1.0F), div(all(2.0F), add(power, all(1.0F))));
  return select(less(abs(x), all(0.6F)), near, with_sign_of(far, x));
}

}  // namespace

}  // namespace ullage::attention
