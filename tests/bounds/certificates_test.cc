// No certificate is exceeded by anything that a search finds, on heads of every awkward kind.
#include "ullage/bounds/certificates.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <array>
#include <cmath>
#include <limits>

#include "bounds/search.h"
#include "ullage/bounds/clip.h"
#include "ullage/bounds/projections.h"

namespace ullage::bounds {
namespace {

using made::Projection;
using spectrum::Matrix;

enum class Kind {
  random,
  tied,
  orthonormal,
  cancelling,
  rank_one,
  zero,
  huge,
  denormal,
  graded,
  mean
};
constexpr std::array<Kind, 10> kKinds = {
    Kind::random, Kind::tied, Kind::orthonormal, Kind::cancelling, Kind::rank_one,
    Kind::zero,   Kind::huge, Kind::denormal,    Kind::graded,     Kind::mean};

void scale(Matrix& m, double by) {
  for (int i = 0; i < m.rows(); ++i) {
    for (double& value : m.row(i)) value *= by;
  }
}

struct Pair {
  Projection q, k;
};

Pair make(Kind kind, int head_dim, int width, double bias, bool layer_norm,
          std::mt19937_64& random) {
  const double deviation = 1.0 / std::sqrt(width);
  Pair out{{made::gaussian(head_dim, width, deviation, random), {}, layer_norm},
           {made::gaussian(head_dim, width, deviation, random), {}, layer_norm}};
  double size = 1.0;
  switch (kind) {
    case Kind::random:
      break;
    case Kind::tied:
      out.k.rows = out.q.rows;
      break;
    case Kind::orthonormal: {
      const Matrix g = spectrum::multiply_transposed(out.q.rows, out.q.rows);
      const spectrum::SymmetricEigen eigen = spectrum::symmetric_eigen(g, true);
      Matrix root = eigen.vectors;
      for (int j = 0; j < root.columns(); ++j) {
        const double by =
            1.0 / std::sqrt(std::max(eigen.values[static_cast<std::size_t>(j)], 1e-12));
        for (int i = 0; i < root.rows(); ++i) root(i, j) *= by;
      }
      out.q.rows =
          spectrum::multiply(spectrum::multiply_transposed(root, eigen.vectors), out.q.rows);
      out.k.rows = out.q.rows;
      break;
    }
    case Kind::cancelling:  // A^T B = 0 while neither is
      for (int i = 0; i < head_dim; ++i) {
        for (double& value : (i % 2 == 0 ? out.q : out.k).rows.row(i)) value = 0.0;
      }
      break;
    case Kind::rank_one:
      for (int i = 1; i < head_dim; ++i) {
        for (int j = 0; j < width; ++j) out.q.rows(i, j) = out.q.rows(0, j) * (i % 3 - 1.0);
      }
      break;
    case Kind::zero:
      scale(out.q.rows, 0.0);
      break;
    case Kind::huge:
      size = 1e38;
      break;
    case Kind::denormal:
      size = 1e-40;
      break;
    case Kind::graded:
      for (int i = 0; i < head_dim; ++i) {
        for (double& value : out.q.rows.row(i)) value *= std::exp2(-3 * i);
        for (double& value : out.k.rows.row(i)) value *= std::exp2(3 * i);
      }
      break;
    case Kind::mean:
      for (int i = 0; i < head_dim; ++i) {
        for (double& value : out.q.rows.row(i)) value += 1.0;
        for (double& value : out.k.rows.row(i)) value -= 1.0;
      }
      break;
  }
  if (bias > 0.0) {
    out.q.bias = made::gaussian(head_dim, bias * size, random);
    out.k.bias = made::gaussian(head_dim, bias * size, random);
  }
  if (size != 1.0) {
    scale(out.q.rows, size);
    scale(out.k.rows, size);
  }
  return out;
}

struct Drawn {
  Pair projections;
  Side query, key;
  spectrum::Rotation rotation;
  std::mt19937_64 random;
};

Drawn draw() {
  Drawn out;
  out.random.seed(*rc::gen::inRange<std::uint64_t>(0, 1U << 30));
  const Kind kind = *rc::gen::elementOf(kKinds);
  const int head_dim = *rc::gen::element(2, 4, 6, 8);
  const int width = *rc::gen::element(3, 8, 24);
  const double bias = *rc::gen::element(0.0, 0.0, 0.1, 1.0, 10.0);
  const bool layer_norm = *rc::gen::arbitrary<bool>();
  out.projections = make(kind, head_dim, width, bias, layer_norm, out.random);
  out.query = made::side(out.projections.q);
  out.key = made::side(out.projections.k);
  const int rotary = *rc::gen::element(0, 2, head_dim / 2 * 2);
  out.rotation = made::rotation(head_dim, rotary, *rc::gen::arbitrary<bool>(), 100.0);
  return out;
}

TEST(Certificates, NothingASearchFindsExceedsThem) {
  EXPECT_TRUE(rc::check([] {
    Drawn d = draw();
    Head head{.query = d.query, .key = d.key};
    if (!d.rotation.pairs.empty()) head.rotation = &d.rotation;
    const Result<Certificates> ours = certify(head);
    RC_ASSERT(ours.ok());
    const double radius_q = std::sqrt(d.query.squared_norm);
    const double radius_k = std::sqrt(d.key.squared_norm);
    const double found = made::search_score(d.projections.q, d.projections.k, d.rotation.pairs,
                                            radius_q, radius_k, d.random);
    // The search's own sums are rounded.
    RC_ASSERT(ours->before_cap >= found * (1.0 - 1e-12));
    for (const Figure& figure : {ours->naive, ours->interaction, ours->augmented, ours->rope}) {
      RC_ASSERT(!figure || figure.value >= ours->before_cap);
    }
    RC_ASSERT(ours->before_cap <= ours->naive.value);
    if (ours->interaction) {
      RC_ASSERT(ours->augmented.value <=
                ours->interaction.value * (1.0 + 1e-5) + 1e-5 * ours->naive.value);
    }

    // Every angle turned, so every offset too: the same head with the pairs unknown.
    Head unknown{.query = d.query, .key = d.key};
    unknown.rotation_unknown = true;
    const Result<Certificates> naive_only = certify(unknown);
    RC_ASSERT(naive_only.ok());
    RC_ASSERT(naive_only->by == "naive");
    RC_ASSERT(naive_only->before_cap >= found * (1.0 - 1e-12));
  }));
}

// Tight where theory says so: without biases the top singular pair attains the interaction bound.
TEST(Certificates, TheTopSingularPairAttainsThem) {
  std::mt19937_64 random(7);
  for (const Kind kind :
       {Kind::random, Kind::tied, Kind::orthonormal, Kind::rank_one, Kind::huge}) {
    const Pair p = make(kind, 6, 16, 0.0, false, random);
    const Side query = made::side(p.q);
    const Side key = made::side(p.k);
    const Result<Certificates> ours = certify({.query = query, .key = key});
    const double found = made::search_score(p.q, p.k, {}, 4.0, 4.0, random, 8, 2000);
    EXPECT_LE(ours->before_cap, found * (1.0 + 1e-5));
  }
}

// With biases the augmented bound is within 1.06 of what is attained.
TEST(Certificates, AugmentedIsCloseToWhatIsAttained) {
  std::mt19937_64 random(8);
  for (const double bias : {0.01, 0.3, 3.0}) {
    const Pair p = make(Kind::random, 6, 16, bias, true, random);
    const Side query = made::side(p.q);
    const Side key = made::side(p.k);
    const Result<Certificates> ours = certify({.query = query, .key = key});
    const double found = made::search_score(p.q, p.k, {}, 4.0, 4.0, random, 16, 2000);
    EXPECT_LE(ours->augmented.value, 1.06 * found) << bias;
  }
}

// A scaling that was found without the biases has no radii for them: they must not be lost.
TEST(Certificates, AScalingWithoutRadiiStillCoversTheBiases) {
  std::mt19937_64 random(9);
  const Pair p = make(Kind::random, 8, 16, 2.0, false, random);
  const Side query = made::side(p.q);
  const Side key = made::side(p.k);
  const spectrum::Rotation rotation = made::rotation(8, 4, true);
  const Matrix gq = inflated(query);
  const Matrix gk = inflated(key);
  const spectrum::Scaling bare =
      spectrum::optimal_scaling(rotation, {&gq, {}, 1.0}, {&gk, {}, 1.0});
  EXPECT_EQ(bare.t_q, 0.0);
  Head head{.query = query, .key = key};
  head.rotation = &rotation;
  const Result<Certificates> ours = certify(head, {.scaling = &bare});
  const double found = made::search_score(p.q, p.k, rotation.pairs, 4.0, 4.0, random, 16, 500);
  EXPECT_GE(ours->rope.value, found);
  EXPECT_LE(ours->rope.value, 2.0 * found);
}

// The published corollary supports the naive bound only: A's second row and B's first row are zero, so A^T B = 0
// and every other offset scores.
TEST(Certificates, InteractionIsVoidUnderRope) {
  Projection q{Matrix(2, 4), {}, false};
  Projection k{Matrix(2, 4), {}, false};
  q.rows(0, 0) = 1.0;
  k.rows(1, 1) = 1.0;
  const Side query = made::side(q);
  const Side key = made::side(k);
  const spectrum::Rotation rotation = made::rotation(2, 2, false);
  Head head{.query = query, .key = key};
  EXPECT_LE(certify(head)->before_cap, 1e-5);
  head.rotation = &rotation;
  const Result<Certificates> turned = certify(head);
  EXPECT_FALSE(turned->interaction.has_value());
  EXPECT_FALSE(turned->interaction.why.empty());
  EXPECT_GE(turned->before_cap, 4.0);
  EXPECT_LE(turned->before_cap, 4.0 * (1.0 + 1e-5));
}

TEST(Certificates, ZeroHeadsAreZero) {
  std::mt19937_64 random(10);
  const Pair p = make(Kind::zero, 4, 8, 0.0, false, random);
  const Side query = made::side(p.q);
  const Side key = made::side(p.k);
  EXPECT_EQ(certify({.query = query, .key = key})->before_cap, 0.0);
}

TEST(Certificates, ScaleMultipliesAndACapCuts) {
  std::mt19937_64 random(11);
  const Pair p = make(Kind::random, 4, 8, 0.5, false, random);
  const Side query = made::side(p.q);
  const Side key = made::side(p.k);
  Head head{.query = query, .key = key};
  const double one = certify(head)->before_cap;
  head.scale = 0.125;
  const Result<Certificates> eighth = certify(head, {.soft_cap = 0.5, .additive_bias = 3.0});
  EXPECT_DOUBLE_EQ(eighth->before_cap, 0.125 * one);
  EXPECT_LE(eighth->certificate, 0.5);
  EXPECT_NEAR(eighth->certificate, 0.5 * std::tanh(eighth->before_cap / 0.5), 1e-12);
  EXPECT_EQ(eighth->additive_bias, 3.0);
  EXPECT_EQ(soft_capped(1e300, 50.0), 50.0);
  EXPECT_EQ(soft_capped(7.0, 0.0), 7.0);
}

// Biases that are known up to an error are covered by it.
TEST(Certificates, ABiasErrorIsAdded) {
  std::mt19937_64 random(12);
  Pair p = make(Kind::random, 4, 8, 0.5, false, random);
  Side query = made::side(p.q);
  const Side key = made::side(p.k);
  query.bias_error = 0.25;
  const double covered = certify({.query = query, .key = key})->before_cap;
  for (int trial = 0; trial < 50; ++trial) {
    Projection moved = p.q;
    const std::vector<double> by = made::gaussian(4, 1.0, random);
    for (std::size_t i = 0; i < 4; ++i) moved.bias[i] += 0.25 * by[i] / spectrum::norm2(by);
    EXPECT_LE(made::search_score(moved, p.k, {}, std::sqrt(8.0), std::sqrt(8.0), random), covered);
  }
}

TEST(Certificates, EachRuleHasItsError) {
  std::mt19937_64 random(13);
  const Pair p = make(Kind::random, 4, 8, 0.5, false, random);
  const Side good = made::side(p.q);
  for (const double bad :
       {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
    Side side = good;
    side.gram(1, 2) = bad;
    EXPECT_EQ(certify({.query = side, .key = good}).error().code, Code::not_finite);
    side = good;
    side.bias[3] = bad;
    EXPECT_EQ(certify({.query = good, .key = side}).error().code, Code::not_finite);
  }
  Side side = good;
  side.bias.resize(3);
  EXPECT_EQ(certify({.query = side, .key = good}).error().code, Code::value_invalid);
  side = good;
  side.gram = Matrix(4, 3);
  EXPECT_EQ(certify({.query = side, .key = good}).error().code, Code::value_invalid);
  const Side wider = made::side(make(Kind::random, 6, 8, 0.0, false, random).q);
  EXPECT_EQ(certify({.query = good, .key = wider}).error().code, Code::value_invalid);
}

// QK-norm: n is any output of the norm, and its gain and bias are the projection.
TEST(Certificates, QkNormCoversEveryOutputOfTheNorm) {
  EXPECT_TRUE(rc::check([] {
    std::mt19937_64 random(*rc::gen::inRange<std::uint64_t>(0, 1U << 30));
    const int head_dim = *rc::gen::element(2, 4, 8);
    const int heads = *rc::gen::element(1, 1, 3);
    const bool layer_norm = *rc::gen::arbitrary<bool>();
    const int width = heads * head_dim;
    const std::vector<double> gq = made::gaussian(head_dim, 1.0, random);
    const std::vector<double> gk = made::gaussian(head_dim, 1.0, random);
    const double bias = layer_norm ? *rc::gen::element(0.0, 0.5, 5.0) : 0.0;
    const std::vector<double> bq = made::gaussian(head_dim, bias, random);
    const std::vector<double> bk = made::gaussian(head_dim, bias, random);
    const QkNormSide query{gq, bq, width, layer_norm};
    const QkNormSide key{gk, bk, width, layer_norm};
    const spectrum::Rotation rotation =
        made::rotation(head_dim, *rc::gen::element(0, 2, head_dim), true);
    const Side query_side = side_of(query);
    const Side key_side = side_of(key);
    Head head{.query = query_side, .key = key_side};
    if (!rotation.pairs.empty()) head.rotation = &rotation;
    head.between = Between::qk_norm;
    const Result<Certificates> ours = certify(head, {.query_qk_norm = &query, .key_qk_norm = &key});
    RC_ASSERT(ours.ok());
    RC_ASSERT(ours->qk_norm.has_value());

    // The head's slice of a norm over the full width, as a projection of its output.
    const auto slice = [&](const std::vector<double>& gain, const std::vector<double>& beta) {
      Projection out{Matrix(head_dim, width), beta, layer_norm};
      for (int i = 0; i < head_dim; ++i) out.rows(i, i) = gain[static_cast<std::size_t>(i)];
      return out;
    };
    const Projection q = slice(gq, bq);
    const Projection k = slice(gk, bk);
    const double radius = std::sqrt(width);
    const double found = made::search_score(q, k, rotation.pairs, radius, radius, random);
    RC_ASSERT(ours->before_cap >= found * (1.0 - 1e-12));
    RC_ASSERT(ours->qk_norm.value >= found * (1.0 - 1e-12));

    // amax: the input that points at one coordinate or pair.
    const std::vector<double> closed = qk_norm_amax(query, rotation.pairs);
    const std::vector<Rows> rows = rows_of(query_side, rotation.pairs);
    for (int c = 0; c < head_dim; ++c) {
      std::vector<double> axis(static_cast<std::size_t>(width));
      axis[static_cast<std::size_t>(c)] =
          q.bias[static_cast<std::size_t>(c)] * gq[static_cast<std::size_t>(c)] < 0.0 ? -1.0 : 1.0;
      const std::vector<double> v =
          made::project(q, made::best_input(axis, radius, layer_norm, 1.0));
      double length = std::abs(v[static_cast<std::size_t>(c)]);
      for (const auto& [i, j] : rotation.pairs) {
        if (c == i || c == j) {
          length = std::hypot(v[static_cast<std::size_t>(i)], v[static_cast<std::size_t>(j)]);
        }
      }
      const auto index = static_cast<std::size_t>(c);
      RC_ASSERT(closed[index] >= length * (1.0 - 1e-12));
      RC_ASSERT(radius * rows[index].norm + rows[index].bias >= length * (1.0 - 1e-12));
    }
  }));
}

// Clipping: inputs that drive signs, single coordinates and random directions to the limits, turned freely.
TEST(Certificates, ClippingCoversEveryClampedInput) {
  EXPECT_TRUE(rc::check([] {
    Drawn d = draw();
    Head head{.query = d.query, .key = d.key};
    if (!d.rotation.pairs.empty()) head.rotation = &d.rotation;
    head.between = Between::clip;
    const double typical =
        std::sqrt(d.query.squared_norm * spectrum::trace(d.query.gram) / d.query.gram.rows());
    head.clip = *rc::gen::element(0.1, 0.5, 1.0, 10.0) * (typical > 0.0 ? typical : 1.0);
    const Result<Certificates> ours = certify(head);
    RC_ASSERT(ours.ok());
    RC_ASSERT(!ours->interaction.has_value() && !ours->augmented.has_value());
    const auto clamp = [&](std::vector<double> x) {
      for (double& value : x) value = std::clamp(value, -head.clip, head.clip);
      return x;
    };
    const int head_dim = d.query.gram.rows();
    const auto drive = [&](const Projection& p, const Side& side) {
      // Towards a vertex of the clipping box.
      std::vector<double> signs = made::gaussian(head_dim, 1.0, d.random);
      if (*rc::gen::arbitrary<bool>()) {
        for (double& value : signs) value = value < 0.0 ? -1.0 : 1.0;
      }
      return clamp(
          made::project(p, made::best_input(spectrum::transposed_multiply(p.rows, signs),
                                            std::sqrt(side.squared_norm), p.layer_norm, 1.0)));
    };
    double q_largest = 0.0;
    for (int trial = 0; trial < 60; ++trial) {
      const std::vector<double> q = drive(d.projections.q, d.query);
      const std::vector<double> k = drive(d.projections.k, d.key);
      const double found = made::best_turned(q, k, d.rotation.pairs);
      RC_ASSERT(ours->before_cap >= found * (1.0 - 1e-12));
      RC_ASSERT(ours->clip.value >= found * (1.0 - 1e-12));
      RC_ASSERT(clipped_coordinate_sum(head) >= found * (1.0 - 1e-12));
      std::vector<double> lengths;
      for (const double value : q) lengths.push_back(std::abs(value));
      for (const auto& [i, j] : d.rotation.pairs) {
        lengths.push_back(
            std::hypot(q[static_cast<std::size_t>(i)], q[static_cast<std::size_t>(j)]));
      }
      q_largest = std::max(q_largest, *std::max_element(lengths.begin(), lengths.end()));
    }
    RC_ASSERT(clipped_amax(head, d.query) >= q_largest * (1.0 - 1e-12));
    RC_ASSERT(clipped_amax(head, d.query) <= std::sqrt(2.0) * head.clip * (1.0 + 1e-12));
    RC_ASSERT(clipped_amax_before_rope(head, d.query) <= head.clip);
  }));
}

// The example that voids bounds on A^T B.
TEST(Certificates, ClippingUndoesCancellation) {
  Projection q{Matrix(2, 1), {}, false};
  Projection k{Matrix(2, 1), {}, false};
  q.rows(0, 0) = 10.0;
  q.rows(1, 0) = 2.0;
  k.rows(0, 0) = 1.0;
  k.rows(1, 0) = -5.0;
  const Side query = made::side(q);
  const Side key = made::side(k);
  Head head{.query = query, .key = key};
  EXPECT_LE(certify(head)->before_cap, 1e-4);
  head.between = Between::clip;
  head.clip = 5.0;  // q = (5, 2), k = (1, -5): the score is -5
  EXPECT_GE(certify(head)->before_cap, 5.0);
}

}  // namespace
}  // namespace ullage::bounds
