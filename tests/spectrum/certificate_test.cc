// No certificate may be exceeded: certificates of made heads, ordinary and hostile, against long double singular
// values of the matrices themselves.
#include "ullage/spectrum/certificate.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <cmath>
#include <limits>
#include <random>
#include <string>

#include "spectrum/jacobi.h"
#include "spectrum/made_rows.h"
#include "spectrum/paths.h"
#include "ullage/spectrum/drift.h"
#include "ullage/spectrum/spectrum.h"

namespace ullage::spectrum {
namespace {

struct Pair {
  Matrix a;
  Matrix b;
};

// Rows that are an orthonormal set, by Gram-Schmidt; zeros beyond `width` of them.
Matrix orthonormal(int rows, int width, std::mt19937_64& random) {
  Matrix q = gaussian(rows, width, random);
  for (int i = 0; i < rows; ++i) {
    for (int twice = 0; twice < 2; ++twice) {
      for (int k = 0; k < i; ++k) {
        const double part = dot(q.row(i), q.row(k));
        for (int j = 0; j < width; ++j) q(i, j) -= part * q(k, j);
      }
    }
    const double norm = i < width ? norm2(q.row(i)) : 0.0;
    for (double& value : q.row(i)) value = norm > 0.0 ? value / norm : 0.0;
  }
  return q;
}

const char* const kKinds[] = {"random",     "tied",     "opposed", "orthonormal",
                              "cancelling", "rank one", "zero",    "one row",
                              "1e38",       "denormal", "graded",  "shared mean"};

Pair make(const std::string& kind, int rows, int width, std::mt19937_64& random) {
  Pair pair{gaussian(rows, width, random), gaussian(rows, width, random)};
  const auto each = [](Matrix& m, auto body) {
    for (int i = 0; i < m.rows(); ++i) {
      for (int j = 0; j < m.columns(); ++j) m(i, j) = body(i, j, m(i, j));
    }
  };
  if (kind == "tied") pair.b = pair.a;
  if (kind == "opposed") each(pair.b, [&](int i, int j, double) { return -pair.a(i, j); });
  if (kind == "orthonormal") pair.a = pair.b = orthonormal(rows, width, random);
  if (kind == "cancelling") {  // A^T B = 0 but for rounding of the weights
    each(pair.a, [&](int i, int, double x) { return i % 2 == 0 ? x : 0.0; });
    each(pair.b, [&](int i, int, double x) { return i % 2 == 1 ? x : 0.0; });
  }
  if (kind == "rank one") {
    each(pair.a, [&](int i, int j, double) { return (i + 1) * std::sin(1.0 + j); });
  }
  if (kind == "zero") each(pair.a, [](int, int, double) { return 0.0; });
  if (kind == "one row") each(pair.a, [](int i, int, double x) { return i == 0 ? x : 0.0; });
  if (kind == "1e38") each(pair.a, [](int, int, double x) { return x * 3e37; });
  if (kind == "denormal") each(pair.b, [](int, int, double x) { return x * 1e-39; });
  if (kind == "graded") {
    each(pair.a, [](int i, int, double x) { return std::ldexp(x, 4 * i - 20); });
    each(pair.b, [](int i, int, double x) { return std::ldexp(x, 20 - 4 * i); });
  }
  if (kind == "shared mean") each(pair.a, [](int, int, double x) { return x + 30.0; });
  return pair;
}

struct Truth {
  double norm_a;
  double norm_b;
  double sigma;
};

Truth truth_of(const MadeRows& a, const MadeRows& b) {
  const auto width = static_cast<std::size_t>(a.rows.width);
  const auto n = static_cast<std::size_t>(a.rows.rows);
  const std::vector<long double> x = a.folded();
  const std::vector<long double> y = b.folded();
  std::vector<long double> product(width * width);
  for (std::size_t i = 0; i < width; ++i) {
    for (std::size_t j = 0; j < width; ++j) {
      for (std::size_t k = 0; k < n; ++k)
        product[i * width + j] += x[k * width + i] * y[k * width + j];
    }
  }
  return {static_cast<double>(jacobi_singular_values(x, n, width)[0]),
          static_cast<double>(jacobi_singular_values(y, n, width)[0]),
          static_cast<double>(jacobi_singular_values(product, width, width)[0])};
}

// What the reference itself may be off by.
double lower(double value, double scale) { return value * (1.0 - 1e-15) - 1e-17 * scale; }

void expect_certified(const MadeRows& a, const MadeRows& b, Arithmetic arithmetic) {
  GramWorkspace workspace;
  Gram gram_a;
  Gram gram_b;
  ASSERT_TRUE(gram(a.rows, arithmetic, workspace, gram_a));
  ASSERT_TRUE(gram(b.rows, arithmetic, workspace, gram_b));
  const Truth truth = truth_of(a, b);
  const Bounded norm_a = bounded_norm(gram_a);
  const Bounded norm_b = bounded_norm(gram_b);
  const Bounded sigma = bounded_sigma(gram_a, norm_a, gram_b, norm_b);
  const double scale = truth.norm_a * truth.norm_b;
  ASSERT_GE(norm_a.bound, lower(truth.norm_a, truth.norm_a));
  ASSERT_GE(norm_b.bound, lower(truth.norm_b, truth.norm_b));
  ASSERT_GE(sigma.bound, lower(truth.sigma, scale));
  ASSERT_GE(sigma.bound, sigma.estimate * (1.0 - 1e-12));
  // The other road: inflate first, then certify matrices.
  ASSERT_GE(certified_norm(inflated(gram_a)), lower(truth.norm_a, truth.norm_a));
  ASSERT_GE(certified_sigma(inflated(gram_a), inflated(gram_b)), lower(truth.sigma, scale));
  // Tight: the asked accuracy of the estimate where Grams are precise, and what their inflation makes of the bound.
  if (arithmetic == Arithmetic::precise) {
    ASSERT_NEAR(sigma.estimate, truth.sigma, 1e-5 * scale);
    ASSERT_LE(sigma.bound, truth.sigma * (1.0 + 3e-6) + 1e-5 * scale);
    ASSERT_NEAR(norm_a.estimate, truth.norm_a, 3e-7 * truth.norm_a);
    ASSERT_LE(norm_a.bound, truth.norm_a * (1.0 + 3e-6));
  } else {
    ASSERT_LE(norm_a.bound, truth.norm_a * (1.0 + 1e-4) * (1.0 + a.rows.rows * 1e-5));
    ASSERT_LE(sigma.bound,
              std::sqrt(truth.sigma * truth.sigma + 1e-5 * a.rows.rows * scale * scale) * 1.001);
  }
}

using CertificateOnPath = PerPath;
INSTANTIATE_TEST_SUITE_P(Paths, CertificateOnPath, testing::ValuesIn(kCpuPaths), path_name);

TEST_P(CertificateOnPath, NeverExceededOnMadeHeads) {
  std::mt19937_64 random(1);
  for (const char* kind : kKinds) {
    for (const Element element : {Element::bf16, Element::f32, Element::f64}) {
      for (const bool fold : {false, true}) {
        const Pair pair = make(kind, 6, 22, random);
        std::vector<double> gain;
        for (int c = 0; fold && c < 22; ++c) gain.push_back(0.1 + 0.37 * c);
        const MadeRows a(pair.a, element, gain, fold);
        const MadeRows b(pair.b, element, gain, fold);
        for (const Arithmetic arithmetic : {Arithmetic::fast, Arithmetic::precise}) {
          SCOPED_TRACE(testing::Message()
                       << kind << " element " << static_cast<int>(element) << " fold " << fold
                       << " precise " << (arithmetic == Arithmetic::precise));
          expect_certified(a, b, arithmetic);
          if (HasFatalFailure()) return;
        }
      }
    }
  }
}

TEST(Certificate, NeverExceededProperty) {
  EXPECT_TRUE(rc::check([] {
    std::mt19937_64 random(*rc::gen::arbitrary<std::uint64_t>());
    const int rows = *rc::gen::inRange(1, 9);
    const int width = *rc::gen::inRange(1, 20);
    const auto kind =
        *rc::gen::elementOf(std::vector<std::string>(std::begin(kKinds), std::end(kKinds)));
    const auto element = *rc::gen::element(Element::bf16, Element::f32, Element::f64);
    const auto arithmetic = *rc::gen::element(Arithmetic::fast, Arithmetic::precise);
    Pair pair = make(kind, rows, width, random);
    // Entries of hugely different size, here and there.
    const int wild = *rc::gen::inRange(0, 4);
    const int range = element == Element::f64 ? 300 : 60;
    for (int k = 0; k < wild; ++k) {
      const int i = *rc::gen::inRange(0, rows);
      const int j = *rc::gen::inRange(0, width);
      pair.a(i, j) = std::ldexp(pair.a(i, j),
                                *rc::gen::inRange(-range, element == Element::f64 ? range / 2 : 1));
    }
    const MadeRows a(pair.a, element, {}, *rc::gen::arbitrary<bool>());
    const MadeRows b(pair.b, element, {}, false);
    GramWorkspace workspace;
    Gram gram_a;
    Gram gram_b;
    RC_ASSERT(gram(a.rows, arithmetic, workspace, gram_a));
    RC_ASSERT(gram(b.rows, arithmetic, workspace, gram_b));
    const Truth truth = truth_of(a, b);
    const Bounded norm_a = bounded_norm(gram_a);
    const Bounded norm_b = bounded_norm(gram_b);
    const Bounded sigma = bounded_sigma(gram_a, norm_a, gram_b, norm_b);
    RC_ASSERT(norm_a.bound >= lower(truth.norm_a, truth.norm_a));
    RC_ASSERT(norm_b.bound >= lower(truth.norm_b, truth.norm_b));
    RC_ASSERT(sigma.bound >= lower(truth.sigma, truth.norm_a * truth.norm_b));
    RC_ASSERT(!std::isnan(sigma.estimate));
  }));
}

// D [A, a/t] against D^-1 [B, b/t'] from Grams alone, for any D.
TEST(Certificate, ScaledAndAugmentedProperty) {
  EXPECT_TRUE(rc::check([] {
    std::mt19937_64 random(*rc::gen::arbitrary<std::uint64_t>());
    const int n = *rc::gen::inRange(1, 8);
    const int width = *rc::gen::inRange(1, 12);
    const auto kind =
        *rc::gen::elementOf(std::vector<std::string>(std::begin(kKinds), std::end(kKinds)));
    const Pair pair = make(kind, n, width, random);
    const MadeRows a(pair.a, Element::f32, {}, false);
    const MadeRows b(pair.b, Element::f32, {}, false);
    GramWorkspace workspace;
    Gram gram_a;
    Gram gram_b;
    RC_ASSERT(gram(a.rows, Arithmetic::precise, workspace, gram_a));
    RC_ASSERT(gram(b.rows, Arithmetic::precise, workspace, gram_b));
    std::uniform_real_distribution<double> exponent(-6.0, 6.0);
    const double t = std::exp(exponent(random));
    std::vector<double> d;
    std::vector<double> inverse;
    std::vector<double> bias;
    for (int i = 0; i < n; ++i) {
      d.push_back(std::exp(exponent(random)));
      inverse.push_back(1.0 / d.back());
      bias.push_back(exponent(random));
    }
    const Matrix g_a = scaled_symmetric(with_column(inflated(gram_a), bias, t), d);
    const Matrix g_b = scaled_symmetric(with_column(inflated(gram_b), bias, t), inverse);
    // The matrices themselves in long double, one more column.
    const auto wide = static_cast<std::size_t>(width) + 1;
    const auto build = [&](const MadeRows& rows, const std::vector<double>& scale) {
      const std::vector<long double> flat = rows.folded();
      std::vector<long double> out;
      for (int i = 0; i < n; ++i) {
        const auto at = static_cast<std::size_t>(i);
        for (int j = 0; j < width; ++j) {
          out.push_back(flat[at * static_cast<std::size_t>(width) + static_cast<std::size_t>(j)] *
                        scale[at]);
        }
        out.push_back(static_cast<long double>(bias[at]) / t * scale[at]);
      }
      return out;
    };
    const std::vector<long double> x = build(a, d);
    const std::vector<long double> y = build(b, inverse);
    const auto rows = static_cast<std::size_t>(n);
    const auto norm_x = static_cast<double>(jacobi_singular_values(x, rows, wide)[0]);
    const auto norm_y = static_cast<double>(jacobi_singular_values(y, rows, wide)[0]);
    std::vector<long double> product(wide * wide);
    for (std::size_t i = 0; i < wide; ++i) {
      for (std::size_t j = 0; j < wide; ++j) {
        for (std::size_t k = 0; k < rows; ++k)
          product[i * wide + j] += x[k * wide + i] * y[k * wide + j];
      }
    }
    const auto sigma = static_cast<double>(jacobi_singular_values(product, wide, wide)[0]);
    RC_ASSERT(certified_norm(g_a) >= lower(norm_x, norm_x));
    RC_ASSERT(certified_norm(g_b) >= lower(norm_y, norm_y));
    RC_ASSERT(certified_sigma(g_a, g_b) >= lower(sigma, norm_x * norm_y));
    RC_ASSERT(certified_norm(g_a) <= norm_x * (1.0 + 3e-6));
  }));
}

TEST(Certificate, LargeHeadsAgainstLapack) {
  std::mt19937_64 random(2);
  for (const int n : {64, 128}) {
    const Matrix a = gaussian(n, 3 * n, random);
    const Matrix b = gaussian(n, 3 * n, random);
    const MadeRows rows_a(a, Element::f64, {}, false);
    const MadeRows rows_b(b, Element::f64, {}, false);
    GramWorkspace workspace;
    Gram gram_a;
    Gram gram_b;
    ASSERT_TRUE(gram(rows_a.rows, Arithmetic::precise, workspace, gram_a));
    ASSERT_TRUE(gram(rows_b.rows, Arithmetic::precise, workspace, gram_b));
    const double sigma = singular_values(transposed_multiply(a, b))[0];
    const double norm = singular_values(a)[0];
    const Bounded norm_a = bounded_norm(gram_a);
    const Bounded norm_b = bounded_norm(gram_b);
    const Bounded got = bounded_sigma(gram_a, norm_a, gram_b, norm_b);
    EXPECT_GE(got.bound, sigma * (1.0 - 1e-13));
    EXPECT_LE(got.bound, sigma * (1.0 + 3e-6));
    EXPECT_NEAR(got.estimate, sigma, 3e-7 * sigma);
    EXPECT_GE(norm_a.bound, norm * (1.0 - 1e-13));
    EXPECT_LE(norm_a.bound, norm * (1.0 + 3e-6));
    EXPECT_FALSE(needs_precise(got, norm_a, norm_b));
  }
}

TEST(Certificate, ExtremeScales) {
  for (const double size : {1e300, 1e-300, 1e-320}) {
    Matrix g(2, 2);
    g(0, 0) = size;
    g(1, 1) = size / 4;
    const double norm = certified_norm(g);
    EXPECT_GE(norm, std::sqrt(size));
    EXPECT_LE(norm, std::sqrt(size) * (1.0 + 3e-6));
    const double sigma = certified_sigma(g, g);
    EXPECT_GE(sigma, size);
    EXPECT_LE(sigma, size * (1.0 + 3e-6) + 1e-322);
  }
  Matrix large(2, 2);
  large(0, 0) = large(1, 1) = std::numeric_limits<double>::max();
  EXPECT_GE(certified_norm(large), std::sqrt(std::numeric_limits<double>::max()));
  EXPECT_LT(certified_norm(large), 1.5e154);
  EXPECT_GE(certified_sigma(large, large), std::numeric_limits<double>::max());
}

TEST(Certificate, ZeroInfiniteAndNan) {
  Matrix identity(2, 2);
  identity(0, 0) = identity(1, 1) = 1.0;
  EXPECT_EQ(certified_norm(Matrix(3, 3)), 0.0);
  EXPECT_EQ(certified_norm(Matrix()), 0.0);
  EXPECT_EQ(certified_sigma(Matrix(2, 2), identity), 0.0);
  Matrix bad = identity;
  bad(1, 1) = std::numeric_limits<double>::infinity();
  EXPECT_EQ(certified_norm(bad), std::numeric_limits<double>::infinity());
  EXPECT_EQ(certified_sigma(bad, identity), std::numeric_limits<double>::infinity());
  bad(1, 1) = std::nan("");
  EXPECT_TRUE(std::isnan(certified_norm(bad)));
  EXPECT_TRUE(std::isnan(certified_sigma(identity, bad)));
}

TEST(Certificate, AnIndefiniteMatrixStillBounds) {
  // Nothing computes such a Gram; the bound falls back to wider shifts and stays finite and above.
  Matrix g(3, 3);
  g(0, 0) = g(1, 1) = g(2, 2) = 1.0;
  g(0, 1) = g(1, 0) = 1.0 + 1e-6;
  Matrix identity(3, 3);
  for (int i = 0; i < 3; ++i) identity(i, i) = 1.0;
  EXPECT_GE(certified_sigma(g, identity), std::sqrt(2.0));
  EXPECT_LE(certified_sigma(g, identity), std::sqrt(2.0) * 1.001);
}

TEST(Certificate, NeedsPrecise) {
  EXPECT_FALSE(needs_precise({0.0, 0.0}, {0.0, 0.0}, {1.0, 1.0}));
  EXPECT_FALSE(needs_precise({0.5, 0.501}, {1.0, 1.0}, {1.0, 1.0}));
  EXPECT_TRUE(needs_precise({0.5, 0.51}, {1.0, 1.0}, {1.0, 1.0}));
  EXPECT_TRUE(needs_precise({0.009, 0.009}, {1.0, 1.0}, {1.0, 1.0}));
}

TEST(Certificate, RoundingUp) {
  EXPECT_EQ(round_up(0.0), 0.0);
  EXPECT_GT(round_up(1.0), 1.0);
  EXPECT_LT(round_up(1.0), 1.0 + 1e-14);
}

TEST(Drift, BoundsWhatMovesAndAdamwConstants) {
  std::mt19937_64 random(3);
  const Matrix a = gaussian(4, 9, random);
  const Matrix b = gaussian(4, 9, random);
  Matrix moved = a;
  for (int i = 0; i < 4; ++i) moved(i, i) += 0.01;
  const double before = singular_values(transposed_multiply(a, b))[0];
  const double after = singular_values(transposed_multiply(moved, b))[0];
  EXPECT_LE(std::abs(after - before),
            sigma_drift(singular_values(a)[0], singular_values(b)[0], 0.01, 0.0));
  EXPECT_NEAR(adamw_reach(0.9, 0.999), 7.27, 0.01);
  EXPECT_NEAR(adamw_reach(0.9, 0.95), 1.165, 0.001);
  EXPECT_TRUE(std::isinf(adamw_reach(0.99, 0.95)));
  EXPECT_TRUE(std::isinf(adamw_reach(std::nan(""), 0.95)));
  EXPECT_NEAR(adamw_change(1e-3, 2.0, 100.0, 0.1, 5.0), 1e-3 * 20.5, 1e-15);
  EXPECT_NEAR(folded_change(2.0, 3.0, 1.0), 7.0, 1e-12);
}

// Adversarial gradients for one coordinate: no sequence makes AdamW step further than adamw_reach.
TEST(Drift, AdamwReachIsNotExceeded) {
  std::mt19937_64 random(4);
  std::normal_distribution<double> normal;
  for (const double beta2 : {0.95, 0.999}) {
    const double reach = adamw_reach(0.9, beta2);
    for (int run = 0; run < 20; ++run) {
      double m = 0.0;
      double v = 0.0;
      double first = 1.0;
      double second = 1.0;
      for (int step = 0; step < 2000; ++step) {
        const double g =
            run == 0 ? (step < 1900 ? 0.0 : 1.0) : normal(random) * std::exp(4.0 * normal(random));
        m = 0.9 * m + 0.1 * g;
        v = beta2 * v + (1.0 - beta2) * g * g;
        first *= 0.9;
        second *= beta2;
        if (v > 0.0) {
          ASSERT_LE(std::abs(m / (1.0 - first)) / std::sqrt(v / (1.0 - second)), reach);
        }
      }
    }
  }
}

}  // namespace
}  // namespace ullage::spectrum
