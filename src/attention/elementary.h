// exp, log, tanh and a turn's cosine from IEEE additions, multiplications and divisions alone.
//
// The C library picks other code (with fused operations) on other CPUs; these give the same bits on
// all of them. FP64, below 1 ulp of error for exp and log, 3 for tanh, 2^-52 for the cosine; FP32 callers round
// the FP64 result, which is then the correctly rounded one but for about one argument in 2^28.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <numbers>

namespace ullage::attention {

namespace detail {

// ln 2 = high + low; k high is exact for |k| < 2^11 (high has 42 significant bits).
inline constexpr double kLn2High = 0x1.62e42fefa38p-1;
inline constexpr double kLn2Low = 0x1.ef35793c7673p-45;

// Added and subtracted again, it rounds |x| < 2^51 to the nearest integer.
inline constexpr double kRoundToInteger = 0x1.8p52;

inline double scale_by(double x, int exponent) {
  return x * std::bit_cast<double>(static_cast<std::uint64_t>(exponent + 1023) << 52);
}

}  // namespace detail

// Taylor series of exp on |r| <= ln 2 / 2 to degree 13: the rest is below 5e-18.
inline double exp_of(double x) {
  if (x != x) return x;
  if (x > 709.79) return std::numeric_limits<double>::infinity();
  if (x < -745.2) return 0;
  const double k = (x * std::numbers::log2e + detail::kRoundToInteger) - detail::kRoundToInteger;
  const double r = (x - k * detail::kLn2High) - k * detail::kLn2Low;
  double tail = 1.0 / 6227020800.0;
  for (const double factorial : {479001600.0, 39916800.0, 3628800.0, 362880.0, 40320.0, 5040.0,
                                 720.0, 120.0, 24.0, 6.0, 2.0})
    tail = tail * r + 1.0 / factorial;
  const double value = 1.0 + (r + r * r * tail);
  // Two steps: 2^k itself may be subnormal, or past the range when the value is not.
  const int exponent = static_cast<int>(k);
  const int half = exponent / 2;
  return detail::scale_by(detail::scale_by(value, half), exponent - half);
}

inline float exp_of(float x) { return static_cast<float>(exp_of(static_cast<double>(x))); }

// 2 artanh((f - 1) / (f + 1)) on f in [sqrt(1/2), sqrt(2)]: the odd series to degree 21.
inline double log_of(double x) {
  if (x != x || x == std::numeric_limits<double>::infinity()) return x;
  if (x < 0) return std::numeric_limits<double>::quiet_NaN();
  if (x == 0) return -std::numeric_limits<double>::infinity();
  int exponent = 0;
  double f = std::frexp(x, &exponent);  // exact
  if (f < std::numbers::sqrt2 / 2) {
    f *= 2;
    --exponent;
  }
  const double s = (f - 1) / (f + 1);
  const double z = s * s;
  double tail = 1.0 / 23.0;
  for (const double odd : {21.0, 19.0, 17.0, 15.0, 13.0, 11.0, 9.0, 7.0, 5.0, 3.0})
    tail = tail * z + 1.0 / odd;
  // log f = 2 s + 2 s z tail, with 2 s = (f - 1) - s (f - 1): the leading term is then exact.
  const double lead = f - 1;
  const double rest = -s * lead + 2 * s * z * tail;
  const double k = exponent;
  return k * detail::kLn2High + (lead + (rest + k * detail::kLn2Low));
}

inline float log_of(float x) { return static_cast<float>(log_of(static_cast<double>(x))); }

// sinh / cosh by their series below 0.35, 1 - 2 / (exp(2 x) + 1) above.
inline double tanh_of(double x) {
  if (x != x) return x;
  const double a = x < 0 ? -x : x;
  double value = 1;
  if (a < 0.35) {
    const double z = a * a;
    double sinh = 1;
    double cosh = 1;
    for (int n = 15; n >= 3; n -= 2) sinh = 1 + sinh * z / (n * (n - 1));
    for (int n = 14; n >= 2; n -= 2) cosh = 1 + cosh * z / (n * (n - 1));
    value = a * sinh / cosh;
  } else if (a < 22) {
    value = 1 - 2 / (exp_of(2 * a) + 1);
  }
  return std::copysign(value, x);
}

inline float tanh_of(float x) { return static_cast<float>(tanh_of(static_cast<double>(x))); }

// cos(2 pi turn), 0 <= turn < 1, by quadrants and the series on [0, pi/4].
inline double cos_of_turn(double turn) {
  double t = turn > 0.5 ? 1 - turn : turn;  // cos is even about half a turn
  const bool flip = t > 0.25;
  if (flip) t = 0.5 - t;
  const bool near_one = t <= 0.125;
  const double angle = 2 * std::numbers::pi * (near_one ? t : 0.25 - t);
  const double z = angle * angle;
  double value = 1;
  if (near_one) {
    for (int n = 18; n >= 2; n -= 2) value = 1 - value * z / (n * (n - 1));
  } else {
    for (int n = 19; n >= 3; n -= 2) value = 1 - value * z / (n * (n - 1));
    value *= angle;
  }
  return flip ? -value : value;
}

}  // namespace ullage::attention
