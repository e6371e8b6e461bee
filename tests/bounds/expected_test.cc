// Expected maxima: coverage by simulation, dense references at sizes the vectors do not reach, monotony, errors.
#include "ullage/bounds/expected.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <array>
#include <cmath>
#include <limits>

#include "bounds/made.h"
#include "ullage/base/cpu.h"
#include "ullage/bounds/certificates.h"
#include "ullage/bounds/projections.h"

namespace ullage::bounds {
namespace {

using made::Projection;
using spectrum::Matrix;

struct Model {
  Projection q, k;
  Side query, key;
  Matrix cross;
  spectrum::Rotation rotation;
  bool turned = false;
  bool cross_attention = false;
  Head head() const {
    Head out{.query = query, .key = key};
    out.cross = &cross;
    if (turned) out.rotation = &rotation;
    out.cross_attention = cross_attention;
    return out;
  }
};

struct Recipe {
  int head_dim = 4;
  int width = 24;
  double bias = 0.0;
  bool layer_norm = false;
  bool rope = false;
  bool cross_attention = false;
  double tie = 0.0;    // share of A in B
  double decay = 1.0;  // of the rows
};

Model make(const Recipe& recipe, std::mt19937_64& random) {
  Model out;
  const double deviation = 1.0 / std::sqrt(recipe.width);
  out.q = {made::gaussian(recipe.head_dim, recipe.width, deviation, random), {}, recipe.layer_norm};
  out.k = {made::gaussian(recipe.head_dim, recipe.width, deviation, random), {}, recipe.layer_norm};
  for (int i = 0; i < recipe.head_dim; ++i) {
    for (int j = 0; j < recipe.width; ++j) {
      out.k.rows(i, j) =
          (1.0 - std::abs(recipe.tie)) * out.k.rows(i, j) + recipe.tie * out.q.rows(i, j);
    }
  }
  for (int i = 0; i < recipe.head_dim; ++i) {
    for (double& value : out.q.rows.row(i)) value *= std::pow(recipe.decay, i);
    for (double& value : out.k.rows.row(i)) value *= std::pow(recipe.decay, i);
  }
  if (recipe.bias > 0.0) {
    out.q.bias = made::gaussian(recipe.head_dim, recipe.bias, random);
    out.k.bias = made::gaussian(recipe.head_dim, recipe.bias, random);
  }
  out.query = made::side(out.q);
  out.key = made::side(out.k);
  out.cross = made::cross(out.q, out.k);
  out.turned = recipe.rope;
  out.cross_attention = recipe.cross_attention;
  if (recipe.rope) out.rotation = made::rotation(recipe.head_dim, recipe.head_dim, true);
  return out;
}

// Uniform on the sphere of radius sqrt(d), orthogonal to the ones where LayerNorm made it.
std::vector<double> token(const Projection& p, std::mt19937_64& random) {
  std::vector<double> n = made::gaussian(p.rows.columns(), 1.0, random);
  if (p.layer_norm) {
    double mean = 0.0;
    for (const double x : n) mean += x / static_cast<double>(n.size());
    for (double& x : n) x -= mean;
  }
  const double by = std::sqrt(static_cast<double>(n.size())) / spectrum::norm2(n);
  for (double& x : n) x *= by;
  return n;
}

std::vector<double> project(const Projection& p, const std::vector<double>& n) {
  std::vector<double> out = spectrum::multiply(p.rows, n);
  for (std::size_t i = 0; i < p.bias.size(); ++i) out[i] += p.bias[i];
  return out;
}

// N queries against N keys of other tokens, each pair alike: N^2 tails of one Gaussian form.
TEST(Expected, CrossAttentionHasAsManyPairsAsTokensSquared) {
  std::mt19937_64 random(11);
  const Side query = made::side({made::gaussian(4, 8, 0.3, random), {}, false});
  const Side key = made::side({Matrix(4, 8), {1.0, -2.0, 0.5, 0.0}, false});
  Head head{.query = query, .key = key};
  head.cross_attention = true;
  const double length =
      std::sqrt(spectrum::dot(key.bias, spectrum::multiply(query.gram, key.bias)));
  for (const int tokens : {1, 2, 8}) {
    for (const bool causal : {false, true}) {
      Result<LogitTails> tails = LogitTails::make(head, {tokens, 1e-3, causal});
      ASSERT_TRUE(tails.ok());
      EXPECT_NEAR(tails->joint().value, length * std::sqrt(2.0 * std::log(2e3 * tokens * tokens)),
                  1e-5 * length);
    }
  }
}

struct Maxima {
  double off = 0.0;
  double on = 0.0;
  double query = 0.0;  // after RoPE
};

Maxima simulate(const Model& model, int tokens, bool causal, std::mt19937_64& random) {
  std::vector<std::vector<double>> q, k;
  Maxima out;
  for (int i = 0; i < tokens; ++i) {
    const std::vector<double> n = token(model.q, random);
    const std::vector<double> other = model.cross_attention ? token(model.k, random) : n;
    std::vector<double> angles;
    for (const double f : model.rotation.frequencies) angles.push_back(f * i);
    q.push_back(made::turn(project(model.q, n), model.rotation.pairs, angles));
    k.push_back(made::turn(project(model.k, other), model.rotation.pairs, angles));
    for (const double value : q.back()) out.query = std::max(out.query, std::abs(value));
  }
  for (int i = 0; i < tokens; ++i) {
    for (int j = 0; j < (causal ? i + 1 : tokens); ++j) {
      const double s =
          std::abs(spectrum::dot(q[static_cast<std::size_t>(i)], k[static_cast<std::size_t>(j)]));
      double& worst = i == j && !model.cross_attention ? out.on : out.off;
      worst = std::max(worst, s);
    }
  }
  return out;
}

// The figures bound the 1 - P quantile: at P = 0.1 no more than one sequence in ten exceeds them. 600 sequences: a
// fraction above 0.15 has a chance of 1e-4 where the truth is 0.1 (Chernoff bounds leave far more room).
TEST(Expected, CoversTheIsotropicModel) {
  const std::array<Recipe, 9> recipes = {{
      {},
      {.bias = 1.0},
      {.layer_norm = true},
      {.bias = 0.5, .layer_norm = true},
      {.tie = 1.0},
      {.bias = 0.7, .tie = -1.0},
      {.rope = true},
      {.bias = 1.0, .rope = true, .decay = 0.5},
      {.bias = 0.5, .cross_attention = true},
  }};
  int index = 0;
  for (const Recipe& recipe : recipes) {
    for (const bool causal : {false, true}) {
      if (causal && recipe.cross_attention) continue;
      std::mt19937_64 random(100 + index);
      const Model model = make(recipe, random);
      constexpr int kTokens = 12;
      constexpr double kProbability = 0.1;
      Head head = model.head();
      Result<LogitTails> tails = LogitTails::make(head, {kTokens, kProbability, causal});
      ASSERT_TRUE(tails.ok()) << tails.error().message();
      const double off = tails->off_diagonal().value;
      const double joint = tails->joint().value;
      const Figure diagonal = tails->diagonal();
      EXPECT_EQ(diagonal.has_value(), !recipe.cross_attention);
      const double on = diagonal ? diagonal.value : 0.0;
      const double amax_q = expected_amax(rows_of(model.query, model.rotation.pairs), recipe.width,
                                          recipe.layer_norm, kTokens, kProbability);

      constexpr int kSequences = 600;
      int above_off = 0, above_on = 0, above_joint = 0, above_query = 0;
      double largest = 0.0;
      for (int s = 0; s < kSequences; ++s) {
        const Maxima seen = simulate(model, kTokens, causal, random);
        above_off += seen.off > off ? 1 : 0;
        above_on += seen.on > on ? 1 : 0;
        above_joint += std::max(seen.off, seen.on) > joint ? 1 : 0;
        above_query += seen.query > amax_q ? 1 : 0;
        largest = std::max({largest, seen.off, seen.on});
      }
      EXPECT_LE(above_off, 0.15 * kSequences) << index << causal;
      EXPECT_LE(above_on, 0.15 * kSequences) << index << causal;
      EXPECT_LE(above_joint, 0.15 * kSequences) << index << causal;
      EXPECT_LE(above_query, 0.15 * kSequences) << index << causal;
      // And it is not idle: the largest of 600 sequences is within a small factor.
      EXPECT_LE(joint, 4.0 * largest) << index << causal;
      ++index;
    }
  }
}

// The certificate covers whatever the isotropic model draws, so clamping loses nothing.
TEST(Expected, NeverAboveTheCertificate) {
  std::mt19937_64 random(3);
  for (const double probability : {1e-3, 1e-30, 1e-300}) {
    const Model model = make({.bias = 0.3}, random);
    const double certificate = certify(model.head())->before_cap;
    const std::array<double, 3> limits = {0.5 * certificate, certificate, 2.0 * certificate};
    const Result<ExpectedLogits> ours =
        expected_logits(model.head(), {1000000, probability, true}, certificate, limits);
    ASSERT_TRUE(ours.ok());
    EXPECT_LE(ours->off_diagonal.value, certificate);
    EXPECT_LE(ours->diagonal.value, certificate);
    EXPECT_LE(ours->joint.value, certificate);
    EXPECT_GT(ours->overflow_probability[0], 0.0);
    EXPECT_EQ(ours->overflow_probability[1], 0.0);
    EXPECT_EQ(ours->overflow_probability[2], 0.0);
  }
}

// The diagonal's tails by eigenvalues of the dense d x d form, golden section and bisection.
double dense_diagonal(const Model& model, double tokens, double probability, double near) {
  const int d = model.query.width;
  Matrix a = made::projected(model.q.rows, model.q.layer_norm);
  Matrix b = made::projected(model.k.rows, model.k.layer_norm);
  const double sphere = model.q.layer_norm ? d / (d - 1.0) : 1.0;
  const double root = std::sqrt(sphere);
  for (Matrix* m : {&a, &b}) {
    for (int i = 0; i < m->rows(); ++i) {
      for (double& value : m->row(i)) value *= root;
    }
  }
  const Matrix product = spectrum::transposed_multiply(a, b);
  Matrix form(d, d);
  for (int i = 0; i < d; ++i) {
    for (int j = 0; j < d; ++j) form(i, j) = 0.5 * (product(i, j) + product(j, i));
  }
  const spectrum::SymmetricEigen eigen = spectrum::symmetric_eigen(form, true);
  std::vector<double> v(static_cast<std::size_t>(d));
  double shift = 0.0;
  if (!model.q.bias.empty()) {
    const double n = model.q.layer_norm ? d - 1 : d;
    const double m =
        std::exp(0.5 * std::log(2.0 / n) + std::lgamma(0.5 * (n + 1)) - std::lgamma(0.5 * n));
    std::vector<double> linear = spectrum::transposed_multiply(a, model.k.bias);
    const std::vector<double> w = spectrum::transposed_multiply(b, model.q.bias);
    for (std::size_t i = 0; i < linear.size(); ++i) linear[i] = (linear[i] + w[i]) / m;
    v = spectrum::transposed_multiply(eigen.vectors, linear);
    shift = spectrum::dot(model.q.bias, model.k.bias);
  }
  const auto log_tail = [&](double t, double sign) {
    double top = 0.0;
    for (const double mu : eigen.values) top = std::max(top, sign * mu);
    const auto exponent = [&](double s) {
      const double l = s / (2.0 * top);
      double out = sign * l * shift - l * t;
      for (std::size_t k = 0; k < v.size(); ++k) {
        const double gap = 1.0 - 2.0 * l * sign * eigen.values[k];
        out += -0.5 * std::log(gap) + 0.5 * l * l * v[k] * v[k] / gap;
      }
      return out;
    };
    double low = 1e-6, high = 1.0 - 1e-9;
    for (int step = 0; step < 120; ++step) {
      const double third = (high - low) * 0.381966;
      (exponent(low + third) < exponent(high - third) ? high : low) =
          exponent(low + third) < exponent(high - third) ? high - third : low + third;
    }
    return exponent(low);
  };
  double low = 0.5 * near, high = 1.5 * near;
  for (int step = 0; step < 40; ++step) {
    const double t = 0.5 * (low + high);
    (tokens * (std::exp(log_tail(t, 1.0)) + std::exp(log_tail(t, -1.0))) > probability ? low
                                                                                       : high) = t;
  }
  return high;
}

TEST(Expected, TheDiagonalIsThatOfTheDenseForm) {
  std::mt19937_64 random(5);
  for (const Recipe& recipe :
       {Recipe{.head_dim = 16, .width = 48},
        Recipe{.head_dim = 16, .width = 48, .bias = 0.5, .layer_norm = true},
        Recipe{.head_dim = 24, .width = 64, .tie = 0.9},
        Recipe{.head_dim = 24, .width = 64, .bias = 1.0, .tie = -0.6},
        Recipe{.head_dim = 32, .width = 80, .decay = 0.8},
        Recipe{.head_dim = 20, .width = 24, .bias = 0.2},
        Recipe{.head_dim = 40, .width = 64, .bias = 0.1, .tie = 0.3, .decay = 0.95}}) {
    const Model model = make(recipe, random);
    for (const double probability : {1e-2, 1e-6, 1e-12}) {
      Result<LogitTails> tails = LogitTails::make(model.head(), {4096, probability, true});
      ASSERT_TRUE(tails.ok());
      const double ours = tails->diagonal().value;
      const double dense = dense_diagonal(model, 4096.0, probability, ours);
      EXPECT_GE(ours, dense * (1.0 - 1e-7));
      EXPECT_LE(ours, dense * (1.0 + 2e-5));
    }
  }
}

// Wide heads that turn take FP32, those close to singular (the last two) FP64.
TEST(Expected, TheDiagonalOfWideHeadsIsThatOfTheDenseForm) {
  std::mt19937_64 random(15);
  for (const Recipe& recipe :
       {Recipe{.head_dim = 64, .width = 192, .rope = true},
        Recipe{.head_dim = 64, .width = 96, .bias = 0.3, .layer_norm = true, .rope = true},
        Recipe{.head_dim = 80, .width = 160, .rope = true, .tie = 0.9},
        Recipe{.head_dim = 64, .width = 128, .bias = 0.5, .rope = true, .tie = -0.6},
        Recipe{.head_dim = 64, .width = 128, .rope = true, .tie = 1.0},
        Recipe{.head_dim = 64, .width = 128, .rope = true, .decay = 0.95},
        Recipe{.head_dim = 64, .width = 128, .rope = true, .decay = 0.8},
        Recipe{.head_dim = 64, .width = 64, .bias = 0.2, .layer_norm = true, .rope = true}}) {
    const Model model = make(recipe, random);
    for (const double probability : {1e-2, 1e-6, 1e-12}) {
      double dense = 0.0;
      for (const CpuPath path : kCpuPaths) {
        if (!refusal(path).empty()) continue;
        const ScopedCpuPath scoped(path);
        Result<LogitTails> tails = LogitTails::make(model.head(), {4096, probability, true});
        ASSERT_TRUE(tails.ok());
        const double ours = tails->diagonal().value;
        if (dense == 0.0) dense = dense_diagonal(model, 4096.0, probability, ours);
        EXPECT_GE(ours, dense * (1.0 - 2e-6)) << recipe.tie << ' ' << recipe.decay;
        EXPECT_LE(ours, dense * (1.0 + 3e-5)) << recipe.tie << ' ' << recipe.decay;
      }
    }
  }
}

// A^T B read from BF16 products is off by 2e-4 of |A||B|: so may the diagonal be, on Grams of any condition.
TEST(Expected, TheDiagonalBearsARoundedProduct) {
  std::mt19937_64 random(6);
  for (const double decay : {1.0, 0.7, 0.4}) {
    for (const double tie : {0.0, 1.0}) {
      Model model = make({.head_dim = 32, .width = 96, .tie = tie, .decay = decay}, random);
      Result<LogitTails> exact = LogitTails::make(model.head(), {4096, 1e-6, true});
      const double before = exact->diagonal().value;
      const double size =
          std::sqrt(spectrum::symmetric_eigen(model.query.gram, false).values.back() *
                    spectrum::symmetric_eigen(model.key.gram, false).values.back());
      const Matrix noise = made::gaussian(32, 32, 2e-4 * size / std::sqrt(4.0 * 32), random);
      for (int i = 0; i < 32; ++i) {
        for (int j = 0; j < 32; ++j) model.cross(i, j) += noise(i, j);
      }
      Result<LogitTails> rounded = LogitTails::make(model.head(), {4096, 1e-6, true});
      ASSERT_TRUE(rounded.ok());
      EXPECT_NEAR(rounded->diagonal().value, before, 2e-3 * before) << decay << ' ' << tie;
    }
  }
}

TEST(Expected, GrowsWithTokensAndCertainty) {
  EXPECT_TRUE(rc::check([] {
    std::mt19937_64 random(*rc::gen::inRange<std::uint64_t>(0, 1U << 30));
    Recipe recipe;
    recipe.head_dim = *rc::gen::element(2, 4, 8);
    recipe.bias = *rc::gen::element(0.0, 0.5, 5.0);
    recipe.layer_norm = *rc::gen::arbitrary<bool>();
    recipe.rope = *rc::gen::arbitrary<bool>();
    recipe.tie = *rc::gen::element(0.0, 0.5, 1.0, -1.0);
    recipe.decay = *rc::gen::element(1.0, 0.5, 0.1);
    const Model model = make(recipe, random);
    const std::int64_t context = *rc::gen::inRange<std::int64_t>(1, 1 << 20);
    const double probability = std::exp2(-*rc::gen::inRange(1, 200));
    const auto figures = [&](std::int64_t n, double p, bool causal) {
      Result<LogitTails> tails = LogitTails::make(model.head(), {n, p, causal});
      RC_ASSERT(tails.ok());
      const std::array<double, 3> out = {tails->off_diagonal().value, tails->diagonal().value,
                                         tails->joint().value};
      RC_ASSERT(out[2] >= std::max(out[0], out[1]) * (1.0 - 1e-5));
      RC_ASSERT(tails->exceedance(out[2]) <= p * (1.0 + 1e-5));
      RC_ASSERT(tails->exceedance(1.01 * out[2]) <= tails->exceedance(out[2]) * (1.0 + 1e-9));
      return out;
    };
    const auto base = figures(context, probability, true);
    const auto more = figures(2 * context, probability, true);
    const auto surer = figures(context, 0.5 * probability, true);
    const auto all = figures(context, probability, false);
    for (std::size_t i = 0; i < 3; ++i) {
      const double slack = 1e-5 * base[i];
      RC_ASSERT(more[i] >= base[i] - slack);
      RC_ASSERT(surer[i] >= base[i] - slack);
      RC_ASSERT(all[i] >= base[i] - slack);
    }
  }));
}

// Sizes from the denormals of FP32 to its largest numbers: the same figure, scaled.
TEST(Expected, ScalesWithTheWeights) {
  std::mt19937_64 random(8);
  for (const Recipe& recipe : {Recipe{}, Recipe{.bias = 0.5, .rope = true}}) {
    Model model = make(recipe, random);
    const double one = LogitTails::make(model.head(), {512, 1e-6, true})->joint().value;
    for (const double size : {1e-40, 1e38}) {
      Model scaled = model;
      for (Projection* p : {&scaled.q, &scaled.k}) {
        for (int i = 0; i < p->rows.rows(); ++i) {
          for (double& value : p->rows.row(i)) value *= size;
        }
        for (double& value : p->bias) value *= size;
      }
      scaled.query = made::side(scaled.q);
      scaled.key = made::side(scaled.k);
      scaled.cross = made::cross(scaled.q, scaled.k);
      const double ours = LogitTails::make(scaled.head(), {512, 1e-6, true})->joint().value;
      EXPECT_NEAR(ours / (size * size), one, 1e-5 * one) << size;
    }
  }
}

TEST(Expected, HeadsWithoutRandomness) {
  const Side zero = made::side({Matrix(4, 8), {}, false});
  const Matrix none(4, 4);
  Head head{.query = zero, .key = zero};
  head.cross = &none;
  Result<LogitTails> tails = LogitTails::make(head, {100, 1e-3, true});
  ASSERT_TRUE(tails.ok());
  EXPECT_EQ(tails->joint().value, 0.0);
  EXPECT_EQ(tails->exceedance(1.0), 0.0);

  // Biases alone: every score is a^T b.
  const Side a = made::side({Matrix(4, 8), {1.0, 2.0, 0.0, -1.0}, false});
  const Side b = made::side({Matrix(4, 8), {-3.0, 0.0, 5.0, 1.0}, false});
  Head constant{.query = a, .key = b};
  constant.cross = &none;
  constant.scale = 0.5;
  tails = LogitTails::make(constant, {100, 1e-3, true});
  ASSERT_TRUE(tails.ok());
  EXPECT_DOUBLE_EQ(tails->joint().value, 2.0);
  EXPECT_EQ(tails->exceedance(1.9), 1.0);
  EXPECT_EQ(tails->exceedance(2.1), 0.0);

  // One side alone: a Gaussian form.
  std::mt19937_64 random(9);
  const Side rows = made::side({made::gaussian(4, 8, 0.3, random), {}, false});
  Head linear{.query = rows, .key = b};
  linear.cross = &none;
  tails = LogitTails::make(linear, {100, 1e-3, true});
  ASSERT_TRUE(tails.ok());
  const double length = std::sqrt(spectrum::dot(b.bias, spectrum::multiply(rows.gram, b.bias)));
  EXPECT_NEAR(tails->off_diagonal().value, length * std::sqrt(2.0 * std::log(2.0 * 4950.0 / 1e-3)),
              1e-5 * length);
}

// Orthogonal at offset 0, and turned into each other at others: a^T b = 0 says nothing about the rest of a sequence.
TEST(Expected, WhatTurnsIsNotConstant) {
  constexpr int kWidth = 8;
  const spectrum::Rotation rotation = made::rotation(4, 4, true);  // coordinates 0 and 2, 1 and 3
  const Side a = made::side({Matrix(4, kWidth), {3.0, 0.0, 0.0, 0.0}, false});
  const Side b = made::side({Matrix(4, kWidth), {0.0, 0.0, 2.0, 0.0}, false});
  const Matrix none(4, 4);
  Head biases{.query = a, .key = b};
  biases.cross = &none;
  biases.rotation = &rotation;
  Result<LogitTails> tails = LogitTails::make(biases, {100, 1e-3, true});
  ASSERT_TRUE(tails.ok());
  EXPECT_DOUBLE_EQ(tails->off_diagonal().value, 6.0);
  EXPECT_EQ(tails->diagonal().value, 0.0);
  EXPECT_DOUBLE_EQ(tails->joint().value, 6.0);
  EXPECT_EQ(tails->exceedance(5.9), 1.0);
  EXPECT_EQ(tails->exceedance(6.1), 0.0);

  // The key reads one coordinate of the input: the score is 3 cos(angle) n_0 times a row of 2.
  Matrix rows(4, kWidth);
  rows(2, 0) = 2.0;
  const Side key = made::side({rows, {}, false});
  Head reads{.query = a, .key = key};
  reads.cross = &none;
  reads.rotation = &rotation;
  tails = LogitTails::make(reads, {12, 0.1, true});
  ASSERT_TRUE(tails.ok());
  EXPECT_LT(tails->diagonal().value, 1e-5);
  std::mt19937_64 random(12);
  const Model model{.q = {Matrix(4, kWidth), a.bias, false},
                    .k = {rows, {}, false},
                    .query = a,
                    .key = key,
                    .cross = none,
                    .rotation = rotation,
                    .turned = true};
  int above = 0;
  double largest = 0.0;
  for (int s = 0; s < 300; ++s) {
    const double seen = simulate(model, 12, true, random).off;
    above += seen > tails->off_diagonal().value ? 1 : 0;
    largest = std::max(largest, seen);
  }
  EXPECT_LE(above, 45);
  EXPECT_LE(tails->off_diagonal().value, 2.0 * largest);
}

TEST(Expected, OneTokenHasADiagonalOnly) {
  std::mt19937_64 random(10);
  const Model model = make({}, random);
  Result<LogitTails> tails = LogitTails::make(model.head(), {1, 1e-3, true});
  ASSERT_TRUE(tails.ok());
  EXPECT_EQ(tails->off_diagonal().value, 0.0);
  EXPECT_GT(tails->diagonal().value, 0.0);
  EXPECT_NEAR(tails->joint().value, tails->diagonal().value, 1e-9);
}

TEST(Expected, EveryCpuPathSaysTheSame) {
  std::mt19937_64 random(11);
  const Model plain = make({.head_dim = 24, .width = 64, .bias = 0.4}, random);
  const Model turned = make({.head_dim = 24, .width = 64, .bias = 0.4, .rope = true}, random);
  std::vector<double> first;
  for (const CpuPath path : kCpuPaths) {
    if (!refusal(path).empty()) continue;
    const ScopedCpuPath scoped(path);
    std::vector<double> figures;
    for (const Model* model : {&plain, &turned}) {
      Result<LogitTails> tails = LogitTails::make(model->head(), {2048, 1e-6, true});
      ASSERT_TRUE(tails.ok());
      figures.insert(figures.end(),
                     {tails->off_diagonal().value, tails->diagonal().value, tails->joint().value});
    }
    if (first.empty()) first = figures;
    for (std::size_t i = 0; i < figures.size(); ++i) {
      EXPECT_NEAR(figures[i], first[i], 1e-8 * first[i]) << name_of(path);
    }
  }
}

TEST(Expected, RefusalsAndErrors) {
  std::mt19937_64 random(12);
  const Model model = make({}, random);
  const ExpectedModel good{64, 1e-3, true};
  const auto code_of = [&](const Head& head, const ExpectedModel& m) {
    return LogitTails::make(head, m).error().code;
  };
  EXPECT_EQ(code_of(model.head(), {0, 1e-3, true}), Code::value_invalid);
  for (const double p : {0.0, 1.0, -1.0, std::numeric_limits<double>::quiet_NaN()}) {
    EXPECT_EQ(code_of(model.head(), {64, p, true}), Code::value_invalid);
  }
  const Matrix small(3, 3);
  Head mismatched = model.head();
  mismatched.cross = &small;
  EXPECT_EQ(code_of(mismatched, good), Code::value_invalid);

  for (const Between between : {Between::qk_norm, Between::clip, Between::qk_norm_and_clip}) {
    Head behind = model.head();
    behind.between = between;
    EXPECT_EQ(code_of(behind, good), Code::usage);
    EXPECT_FALSE(expected_refusal(behind).empty());
  }
  Head unknown = model.head();
  unknown.rotation_unknown = true;
  EXPECT_EQ(code_of(unknown, good), Code::usage);
  Side embedding = model.query;
  embedding.squared_norm = 17.0;
  Head fed{.query = embedding, .key = model.key};
  EXPECT_EQ(code_of(fed, good), Code::usage);

  Side broken = model.query;
  broken.gram(0, 1) = std::numeric_limits<double>::quiet_NaN();
  Head nan{.query = broken, .key = model.key};
  EXPECT_EQ(code_of(nan, good), Code::not_finite);

  Head alone = model.head();
  alone.cross = nullptr;
  Result<LogitTails> tails = LogitTails::make(alone, good);
  ASSERT_TRUE(tails.ok());
  EXPECT_FALSE(tails->diagonal().has_value());
  EXPECT_FALSE(tails->diagonal().why.empty());
  EXPECT_EQ(tails->joint().value, tails->off_diagonal().value);
}

}  // namespace
}  // namespace ullage::bounds
