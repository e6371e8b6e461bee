// certificate_rounded against forward passes that really round: n, x, q and k to BF16, sums in FP32, RoPE in FP32 or
// BF16, a last cast to FP8.
#include "ullage/bounds/rounded.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <cmath>

#include "bounds/search.h"
#include "ullage/bounds/certificates.h"
#include "ullage/formats/scalar.h"

namespace ullage::bounds {
namespace {

using spectrum::Matrix;

double bf16(double x) {
  return formats::round_to(formats::kBf16, x, {.overflow = formats::Overflow::non_saturating});
}
double e4m3(double x) {
  return formats::round_to(formats::kE4M3, x, {.overflow = formats::Overflow::saturate});
}
float fp32(double x) { return static_cast<float>(x); }

struct Layer {
  Matrix w;  // entries are BF16 values
  std::vector<double> gain, beta, bias;
};

Layer make(int head_dim, int width, bool with_beta, std::mt19937_64& random) {
  Layer out{made::gaussian(head_dim, width, 1.0 / std::sqrt(width), random), {}, {}, {}};
  for (int i = 0; i < head_dim; ++i) {
    for (double& value : out.w.row(i)) value = bf16(value);
  }
  const auto n = static_cast<std::size_t>(width);
  out.gain.assign(n, 1.0);
  out.beta.assign(n, 0.0);
  out.bias.assign(static_cast<std::size_t>(head_dim), 0.0);
  if (with_beta) {
    for (double& value : out.gain) value = bf16(1.0 + 0.3 * made::gaussian(1, 1.0, random)[0]);
    for (double& value : out.beta) value = bf16(made::gaussian(1, 1.0, random)[0]);
    for (double& value : out.bias) value = bf16(made::gaussian(1, 1.0, random)[0]);
  }
  return out;
}

made::Projection folded(const Layer& layer) {
  made::Projection out{layer.w, layer.bias, false};
  const std::vector<double> w_beta = spectrum::multiply(layer.w, layer.beta);
  for (int i = 0; i < layer.w.rows(); ++i) {
    for (int j = 0; j < layer.w.columns(); ++j)
      out.rows(i, j) *= layer.gain[static_cast<std::size_t>(j)];
    out.bias[static_cast<std::size_t>(i)] += w_beta[static_cast<std::size_t>(i)];
  }
  return out;
}

RoundedSide numbers(const Layer& layer) {
  const made::Projection p = folded(layer);
  Matrix w_beta = layer.w;
  for (int i = 0; i < w_beta.rows(); ++i) {
    for (int j = 0; j < w_beta.columns(); ++j)
      w_beta(i, j) *= layer.beta[static_cast<std::size_t>(j)];
  }
  RoundedSide out;
  out.norm = spectrum::singular_values(p.rows)[0] * (1.0 + 1e-12);
  out.frobenius = spectrum::frobenius_norm(p.rows);
  out.bias = spectrum::norm2(p.bias);
  out.beta_norm = spectrum::singular_values(w_beta)[0] * (1.0 + 1e-12);
  out.beta_frobenius = spectrum::frobenius_norm(w_beta);
  out.squared_norm = layer.w.columns();
  out.width = layer.w.columns();
  return out;
}

// n is exact; every later step rounds as a BF16 model does.
std::vector<double> forward(const Layer& layer, const std::vector<double>& n) {
  std::vector<double> x(n.size());
  for (std::size_t j = 0; j < n.size(); ++j) {
    x[j] = bf16(fp32(fp32(bf16(n[j]) * layer.gain[j]) + static_cast<float>(layer.beta[j])));
  }
  std::vector<double> out;
  for (int i = 0; i < layer.w.rows(); ++i) {
    float sum = 0.0F;
    for (std::size_t j = 0; j < x.size(); ++j) {
      sum += static_cast<float>(layer.w(i, static_cast<int>(j))) * static_cast<float>(x[j]);
    }
    out.push_back(bf16(sum + static_cast<float>(layer.bias[static_cast<std::size_t>(i)])));
  }
  return out;
}

std::vector<double> turned(const std::vector<double>& x,
                           const std::vector<std::array<int, 2>>& pairs,
                           const std::vector<double>& angles, RopeArithmetic rope) {
  if (rope == RopeArithmetic::none) return x;
  const auto r = [&](double v) {
    return rope == RopeArithmetic::operand ? bf16(v) : static_cast<double>(fp32(v));
  };
  std::vector<double> out = x;
  for (std::size_t p = 0; p < pairs.size(); ++p) {
    const auto i = static_cast<std::size_t>(pairs[p][0]);
    const auto j = static_cast<std::size_t>(pairs[p][1]);
    const double c = r(std::cos(angles[p]));
    const double s = r(std::sin(angles[p]));
    out[i] = bf16(r(r(c * x[i]) - r(s * x[j])));
    out[j] = bf16(r(r(s * x[i]) + r(c * x[j])));
  }
  return out;
}

double score(const std::vector<double>& q, const std::vector<double>& k) {
  float sum = 0.0F;
  for (std::size_t i = 0; i < q.size(); ++i)
    sum += static_cast<float>(q[i]) * static_cast<float>(k[i]);
  return std::abs(static_cast<double>(sum));
}

TEST(Rounded, NoRoundedForwardPassExceedsIt) {
  EXPECT_TRUE(rc::check([] {
    std::mt19937_64 random(*rc::gen::inRange<std::uint64_t>(0, 1U << 30));
    const int head_dim = 4;
    const int width = *rc::gen::element(8, 32);
    const bool with_beta = *rc::gen::arbitrary<bool>();
    const bool fp8 = *rc::gen::arbitrary<bool>();
    // From where most of q is in E4M3's normal range to where all of it is below its least subnormal.
    const double size = *rc::gen::element(1.0, 0x1p-6, 0x1p-10);
    const RopeArithmetic rope =
        *rc::gen::element(RopeArithmetic::none, RopeArithmetic::fp32, RopeArithmetic::operand);
    Layer q = make(head_dim, width, with_beta, random);
    Layer k = make(head_dim, width, with_beta, random);
    for (Layer* side : {&q, &k}) {
      for (int i = 0; i < head_dim; ++i) {
        for (double& value : side->w.row(i)) value *= size;
        side->bias[static_cast<std::size_t>(i)] *= size;
      }
    }
    if (*rc::gen::arbitrary<bool>()) {  // A^T B = 0
      for (int i = 0; i < head_dim; ++i) {
        Layer& zeroed = i % 2 == 0 ? q : k;
        for (double& value : zeroed.w.row(i)) value = 0.0;
        zeroed.bias[static_cast<std::size_t>(i)] = 0.0;
      }
    }
    const made::Projection qp = folded(q);
    const made::Projection kp = folded(k);
    const Side query = made::side(qp);
    const Side key = made::side(kp);
    const spectrum::Rotation rotation = made::rotation(head_dim, head_dim, true);
    Head head{.query = query, .key = key};
    if (rope != RopeArithmetic::none) head.rotation = &rotation;
    const double certificate = certify(head)->before_cap;
    OperandRounding rounding;
    rounding.rope = rope;
    rounding.cast_unit = fp8 ? 0x1p-4 : 0.0;
    rounding.floor = fp8 ? 0x1p-10 : 0.0;
    const double bound =
        certificate_rounded(certificate, numbers(q), numbers(k), 1.0, head_dim, rounding);
    RC_ASSERT(bound >= certificate);

    const double radius = std::sqrt(width);
    for (int trial = 0; trial < 30; ++trial) {
      std::vector<double> angles;
      for (std::size_t p = 0; p < rotation.pairs.size(); ++p) {
        angles.push_back(6.28 * std::generate_canonical<double, 30>(random));
      }
      // Inputs near the worst of the exact score, and random ones.
      std::vector<double> nk =
          made::best_input(made::gaussian(width, 1.0, random), radius, false, 1.0);
      std::vector<double> nq =
          made::best_input(made::gaussian(width, 1.0, random), radius, false, 1.0);
      for (int round = 0; round < trial % 4; ++round) {
        const std::vector<double> kv = made::project(kp, nk);
        nq = made::best_input(spectrum::transposed_multiply(qp.rows, kv), radius, false,
                              spectrum::dot(qp.bias, kv));
        const std::vector<double> qv = made::project(qp, nq);
        nk = made::best_input(spectrum::transposed_multiply(kp.rows, qv), radius, false,
                              spectrum::dot(kp.bias, qv));
      }
      std::vector<double> qr = turned(forward(q, nq), rotation.pairs, angles, rope);
      std::vector<double> kr = forward(k, nk);
      if (rope != RopeArithmetic::none) {
        kr = turned(kr, rotation.pairs, std::vector<double>(angles.size(), 0.3), rope);
      }
      if (fp8) {
        for (std::vector<double>* x : {&qr, &kr}) {
          for (double& value : *x) value = e4m3(value);
        }
      }
      RC_ASSERT(score(qr, kr) <= bound);
    }
  }));
}

TEST(Rounded, GrowthAndTerms) {
  const double u = 0x1p-8;
  OperandRounding rounding;
  EXPECT_NEAR(rounding_growth(rounding), std::pow(1 + u, 3) - 1, 1e-15);
  rounding.rope = RopeArithmetic::fp32;
  EXPECT_NEAR(rounding_growth(rounding), std::pow(1 + u, 4) - 1, 1e-15);
  rounding.rope = RopeArithmetic::operand;
  const double operand = std::pow(1 + u, 3) * (1 + std::sqrt(2.0) * (std::pow(1 + u, 3) - 1)) - 1;
  EXPECT_NEAR(rounding_growth(rounding), operand, 1e-15);
  rounding.cast_unit = 0x1p-4;
  EXPECT_NEAR(rounding_growth(rounding), (1 + operand) * (1 + 0x1p-4) - 1, 1e-15);

  // The formula by hand: Q = 4 * 2 + 1, K = 4 * 3, no beta.
  RoundedSide q{.norm = 2.0, .frobenius = 3.0, .bias = 1.0, .squared_norm = 16.0, .width = 16};
  RoundedSide k{.norm = 3.0, .frobenius = 4.0, .squared_norm = 16.0, .width = 16};
  const OperandRounding exact_sums{.fp32_accumulation = false};
  const double eta = std::pow(1 + u, 3) - 1;
  const double expected =
      5.0 + 0.5 * (9.0 * eta * 12.0 + 12.0 * eta * 9.0 + 9.0 * eta * 12.0 * eta);
  EXPECT_NEAR(certificate_rounded(5.0, q, k, 0.5, 8, exact_sums), expected, 1e-9);
  const double e_q = 9.0 * eta + 16 * 0x1p-24 * 4.0 * 3.0;
  const double e_k = 12.0 * eta + 16 * 0x1p-24 * 4.0 * 4.0;
  const double sums = 5.0 + 0.5 * (e_q * 12.0 + e_k * 9.0 + e_q * e_k) +
                      0.5 * 8 * 0x1p-24 * (9.0 + e_q) * (12.0 + e_k);
  EXPECT_NEAR(certificate_rounded(5.0, q, k, 0.5, 8, {}), sums, 1e-9);
  // sqrt(8) times the floor longer, each.
  const double f_q = 9.0 * eta + std::sqrt(8) * 0.25, f_k = 12.0 * eta + std::sqrt(8) * 0.25;
  EXPECT_NEAR(certificate_rounded(5.0, q, k, 0.5, 8, {.floor = 0.25, .fp32_accumulation = false}),
              5.0 + 0.5 * (f_q * 12.0 + f_k * 9.0 + f_q * f_k), 1e-9);
}

}  // namespace
}  // namespace ullage::bounds
