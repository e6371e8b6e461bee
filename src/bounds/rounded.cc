#include "ullage/bounds/rounded.h"

#include <cmath>

#include "ullage/spectrum/certificate.h"

namespace ullage::bounds {

namespace {

constexpr double kFp32Unit = 0x1p-24;

struct Extent {
  double longest = 0.0;  // of the exact q
  double error = 0.0;    // of the rounded one
};

Extent extent(const RoundedSide& side, int head_dim, const OperandRounding& rounding) {
  const double root = std::sqrt(side.squared_norm);
  Extent out;
  out.longest = root * side.norm + side.bias;
  out.error = rounding_growth(rounding) * (out.longest + root * side.beta_norm) +
              std::sqrt(head_dim) * rounding.floor;
  if (rounding.fp32_accumulation) {
    out.error += side.width * kFp32Unit * root * (side.frobenius + side.beta_frobenius);
  }
  return out;
}

}  // namespace

double rounding_growth(const OperandRounding& rounding) {
  const double u = rounding.unit;
  double growth = (1.0 + u) * (1.0 + u) * (1.0 + u);
  switch (rounding.rope) {
    case RopeArithmetic::none:
      break;
    case RopeArithmetic::fp32:
      growth *= 1.0 + u;
      break;
    case RopeArithmetic::operand:
      growth *= 1.0 + std::sqrt(2.0) * ((1.0 + u) * (1.0 + u) * (1.0 + u) - 1.0);
      break;
  }
  return growth * (1.0 + rounding.cast_unit) - 1.0;
}

double certificate_rounded(double certificate, const RoundedSide& query, const RoundedSide& key,
                           double scale, int head_dim, const OperandRounding& rounding) {
  const Extent q = extent(query, head_dim, rounding);
  const Extent k = extent(key, head_dim, rounding);
  double total =
      certificate + scale * (q.error * k.longest + k.error * q.longest + q.error * k.error);
  if (rounding.fp32_accumulation) {
    total += scale * head_dim * kFp32Unit * (q.longest + q.error) * (k.longest + k.error);
  }
  return spectrum::round_up(total);
}

}  // namespace ullage::bounds
