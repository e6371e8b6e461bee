// Rotary bounds against reference values, and against everything a search over offsets and inputs finds.
#include "ullage/spectrum/rope.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <cmath>
#include <numeric>
#include <random>

#include "spectrum/vectors.h"
#include "ullage/spectrum/certificate.h"
#include "ullage/spectrum/spectrum.h"

namespace ullage::spectrum {
namespace {

std::vector<double> llama_frequencies(int rotary_dim) {
  std::vector<double> out;
  for (int p = 0; p < rotary_dim / 2; ++p) out.push_back(std::pow(10000.0, -2.0 * p / rotary_dim));
  return out;
}

Rotation make(int head_dim, int rotary_dim, Pairing pairing, int first = 0) {
  return make_rotation(head_dim, rotary_dim, pairing, llama_frequencies(rotary_dim), first).value();
}

// R_t x, rows turned one by one as the definition says.
Matrix turn(const Rotation& rotation, Matrix x, double offset) {
  for (std::size_t p = 0; p < rotation.pairs.size(); ++p) {
    const auto [i, j] = rotation.pairs[p];
    const double angle = offset * rotation.frequencies[p];
    for (int c = 0; c < x.columns(); ++c) {
      const double u = x(i, c);
      const double v = x(j, c);
      x(i, c) = std::cos(angle) * u - std::sin(angle) * v;
      x(j, c) = std::sin(angle) * u + std::cos(angle) * v;
    }
  }
  return x;
}

double sigma_at(const Rotation& rotation, const Matrix& a, const Matrix& b, double offset) {
  return singular_values(transposed_multiply(a, turn(rotation, b, offset)))[0];
}

TEST(Rotation, PairsLieAsTheLayoutSays) {
  const Rotation half = make(8, 4, Pairing::half_split);
  EXPECT_THAT(half.pairs, testing::ElementsAre(std::array{0, 2}, std::array{1, 3}));
  EXPECT_THAT(half.fixed, testing::ElementsAre(4, 5, 6, 7));
  const Rotation late = make(6, 4, Pairing::interleaved, 2);
  EXPECT_THAT(late.pairs, testing::ElementsAre(std::array{2, 3}, std::array{4, 5}));
  EXPECT_THAT(late.fixed, testing::ElementsAre(0, 1));
}

TEST(Rotation, EachRuleHasItsError) {
  const std::vector<double> two = {1.0, 0.1};
  for (const auto& bad :
       {make_rotation(0, 0, Pairing::half_split, {}), make_rotation(8, 3, Pairing::half_split, two),
        make_rotation(8, -2, Pairing::half_split, two),
        make_rotation(2, 4, Pairing::half_split, two),
        make_rotation(4, 4, Pairing::half_split, two, 1),
        make_rotation(4, 4, Pairing::half_split, two, -1),
        make_rotation(8, 6, Pairing::half_split, two),
        make_rotation(8, 4, Pairing::half_split, std::vector<double>{1.0, std::nan("")})}) {
    ASSERT_FALSE(bad.ok());
    EXPECT_EQ(bad.error().code, Code::value_invalid);
    EXPECT_FALSE(bad.error().message().empty());
  }
}

TEST(Rotation, GramOfTurnedRows) {
  std::mt19937_64 random(1);
  const Rotation rotation = make(10, 6, Pairing::interleaved, 2);
  const Matrix b = gaussian(10, 20, random);
  const Matrix got = rotated(rotation, gram_of(b), 17.0);
  const Matrix want = gram_of(turn(rotation, b, 17.0));
  for (int i = 0; i < 10; ++i) {
    for (int j = 0; j < 10; ++j) EXPECT_NEAR(got(i, j), want(i, j), 1e-12);
  }
}

TEST(Vectors, NormsAndSpectra) {
  for (const VectorHead& head : vector_heads()) {
    SCOPED_TRACE(head.name);
    const Gram a = gram_from(head.a, head.layer_norm);
    const Gram b = gram_from(head.b, head.layer_norm);
    const double norm_a = head.expect["norm_A"];
    const double norm_b = head.expect["norm_B"];
    EXPECT_NEAR(norm_of(a.values), norm_a, 3e-7 * norm_a);
    EXPECT_NEAR(norm_of(b.values), norm_b, 3e-7 * norm_b);
    const auto want = head.expect["sigma"].get<std::vector<double>>();
    const std::vector<double> got = singular_values_of_product(a.values, b.values);
    for (std::size_t k = 0; k < want.size(); ++k) {
      // Squares lose half the digits where a value is zero in exact arithmetic.
      EXPECT_NEAR(got[k], want[k], (want[k] > 1e-3 * want[0] ? 1e-10 : 1e-7) * norm_a * norm_b)
          << k;
    }
    const Bounded bound = bounded_sigma(a, bounded_norm(a), b, bounded_norm(b));
    EXPECT_GE(bound.bound, want[0] * (1.0 - 1e-14));
    EXPECT_LE(bound.bound, want[0] * (1.0 + 3e-6) + 1e-6 * norm_a * norm_b);
  }
}

TEST(Vectors, RopeSupremumAndScaledOptimum) {
  std::vector<double> both(511);
  std::iota(both.begin(), both.end(), -255.0);
  const std::vector<double> causal(both.begin(), both.begin() + 256);
  int seen = 0;
  for (const VectorHead& head : vector_heads()) {
    if (!head.rope) continue;
    SCOPED_TRACE(head.name);
    ++seen;
    const Gram a = gram_from(head.a, head.layer_norm);
    const Gram b = gram_from(head.b, head.layer_norm);
    const double radius = std::sqrt(head.a.columns());
    const Side q{&a.values, head.bias_a, radius};
    const Side k{&b.values, head.bias_b, radius};
    const double supremum = head.expect["rope_sup_both256"];
    const double optimum = head.expect["scaled_optimum"];

    const Scaling balanced = balanced_scaling(head.rotation, q, k);
    EXPECT_LE(balanced.value * head.scale, head.expect["naive"].get<double>() * (1.0 + 1e-6));
    const Scaling plain =
        optimal_scaling(head.rotation, q, k, {.evaluations = 0, .mix_fixed = false});
    EXPECT_LE(plain.value, balanced.value);
    EXPECT_GE(plain.value * head.scale, optimum * (1.0 - 1e-6));
    EXPECT_LE(plain.value * head.scale, optimum * 1.01);
    const Scaling mixed = optimal_scaling(head.rotation, q, k);
    EXPECT_GE(mixed.value * head.scale, supremum * (1.0 - 1e-6));
    EXPECT_LE(mixed.value * head.scale, optimum * 1.01);

    const Matrix above_a = inflated(a);
    const Matrix above_b = inflated(b);
    const Side q_above{&above_a, head.bias_a, radius};
    const Side k_above{&above_b, head.bias_b, radius};
    for (const Scaling& scaling : {balanced, plain, mixed}) {
      const double certified =
          certified_scaled(head.rotation, q_above, k_above, scaling) * head.scale;
      EXPECT_GE(certified, supremum);
      EXPECT_GE(certified, scaling.value * head.scale * (1.0 - 1e-12));
      EXPECT_LE(certified, scaling.value * head.scale * (1.0 + 1e-5));
    }
    const ContextBound context = bounded_context(head.rotation, q_above, k_above, mixed,
                                                 {.context = 256, .both_signs = true});
    EXPECT_GE(context.bound * head.scale, supremum);
    EXPECT_LE(context.bound, certified_scaled(head.rotation, q_above, k_above, mixed));
    if (!std::accumulate(head.bias_a.begin(), head.bias_a.end(), false,
                         [](bool any, double x) { return any || x != 0.0; })) {
      const Supremum got =
          sampled_supremum(head.rotation, q, k, plain, sampled_turns(head.rotation, both));
      EXPECT_NEAR(got.value * head.scale, supremum, 1e-9 * supremum);
      EXPECT_NEAR(
          sampled_supremum(head.rotation, q, k, plain, sampled_turns(head.rotation, causal)).value *
              head.scale,
          head.expect["rope_sup_causal256"].get<double>(), 1e-9 * supremum);
      EXPECT_LE(
          sampled_supremum(head.rotation, q, k, plain, sampled_turns(head.rotation, both), 6).value,
          got.value * (1.0 + 1e-12));
      EXPECT_LE(context.bound * head.scale, supremum * 1.021);
      EXPECT_NEAR(context.seen * head.scale, supremum, 0.021 * supremum);
    }
  }
  EXPECT_EQ(seen, 11);
}

TEST(Vectors, BalanceIsTheClosedForm) {
  for (const VectorHead& head : vector_heads()) {
    if (!head.expect.contains("D_balance")) continue;
    SCOPED_TRACE(head.name);
    const Gram a = gram_from(head.a, head.layer_norm);
    const Gram b = gram_from(head.b, head.layer_norm);
    const Scaling got = balanced_scaling(head.rotation, {&a.values, {}, 1.0}, {&b.values, {}, 1.0});
    const auto want = head.expect["D_balance"].get<std::vector<double>>();
    if (got.d[0] == 1.0 && got.d[1] == 1.0) continue;  // D = 1 was better
    const double unit = got.d[static_cast<std::size_t>(head.rotation.pairs[0][0])] / want[0];
    for (std::size_t p = 0; p < head.rotation.pairs.size(); ++p) {
      for (const int i : head.rotation.pairs[p]) {
        EXPECT_NEAR(got.d[static_cast<std::size_t>(i)], unit * want[p], 1e-9 * unit * want[p]);
      }
    }
  }
}

// A head with structure: scaled pairs, shared directions, maybe biases, maybe unrotated coordinates.
struct RopeHead {
  Rotation rotation;
  Matrix a;
  Matrix b;
  std::vector<double> bias_a;
  std::vector<double> bias_b;
};
RopeHead random_head(std::mt19937_64& random, bool biased, int pairs, int fixed) {
  const int n = 2 * pairs + fixed;
  const int width = n + 5;
  std::normal_distribution<double> normal;
  RopeHead head{make(n, 2 * pairs, random() % 2 == 0 ? Pairing::half_split : Pairing::interleaved),
                gaussian(n, width, random),
                gaussian(n, width, random),
                {},
                {}};
  for (int i = 0; i < n; ++i) {
    const double grade_a = std::exp(1.5 * normal(random));
    const double grade_b = std::exp(1.5 * normal(random));
    for (double& value : head.a.row(i)) value *= grade_a;
    for (double& value : head.b.row(i)) value *= grade_b;
    if (biased) {
      head.bias_a.push_back(std::exp(2.0 * normal(random)) * normal(random));
      head.bias_b.push_back(std::exp(2.0 * normal(random)) * normal(random));
    }
  }
  return head;
}

// Largest |q^T R_t k| that alternating maximisation over both tokens finds at one offset.
double alternating_maximum(const RopeHead& head, double radius, double offset,
                           std::mt19937_64& random) {
  const int n = head.a.rows();
  const auto project = [&](const Matrix& w, const std::vector<double>& bias,
                           const std::vector<double>& x) {
    std::vector<double> out = multiply(w, x);
    for (std::size_t i = 0; i < bias.size(); ++i) out[i] += bias[i];
    return out;
  };
  const auto turned = [&](std::vector<double> x, double direction) {
    Matrix column(n, 1);
    for (int i = 0; i < n; ++i) column(i, 0) = x[static_cast<std::size_t>(i)];
    column = turn(head.rotation, column, direction * offset);
    for (int i = 0; i < n; ++i) x[static_cast<std::size_t>(i)] = column(i, 0);
    return x;
  };
  const auto towards = [&](std::vector<double> gradient, double sign) {
    const double norm = norm2(gradient);
    for (double& value : gradient) value *= norm > 0.0 ? sign * radius / norm : 0.0;
    return gradient;
  };
  double best = 0.0;
  for (const double sign : {1.0, -1.0}) {
    const Matrix start = gaussian(1, head.b.columns(), random);
    std::vector<double> y = towards({start.row(0).begin(), start.row(0).end()}, 1.0);
    for (int step = 0; step < 30; ++step) {
      const std::vector<double> key = turned(project(head.b, head.bias_b, y), 1.0);
      const std::vector<double> x = towards(transposed_multiply(head.a, key), sign);
      const std::vector<double> query = project(head.a, head.bias_a, x);
      best = std::max(best, std::abs(dot(query, key)));
      y = towards(transposed_multiply(head.b, turned(query, -1.0)), sign);
      best = std::max(best, std::abs(dot(query, turned(project(head.b, head.bias_b, y), 1.0))));
    }
  }
  return best;
}

TEST(Rope, NoOffsetOrTokenExceedsTheCertificates) {
  EXPECT_TRUE(rc::check([] {
    std::mt19937_64 random(*rc::gen::arbitrary<std::uint64_t>());
    const bool biased = *rc::gen::arbitrary<bool>();
    const RopeHead head =
        random_head(random, biased, *rc::gen::inRange(1, 4), *rc::gen::inRange(0, 4));
    const double radius = std::sqrt(head.a.columns());
    const Matrix g_a = inflated(gram_from(head.a, false));
    const Matrix g_b = inflated(gram_from(head.b, false));
    const Side q{&g_a, head.bias_a, radius};
    const Side k{&g_b, head.bias_b, radius};
    const Scaling scaling = optimal_scaling(head.rotation, q, k);
    const double everywhere = certified_scaled(head.rotation, q, k, scaling);
    constexpr int kContext = 40;
    const ContextBound context =
        bounded_context(head.rotation, q, k, scaling, {.context = kContext, .max_cells = 60});
    for (int offset = 0; offset > -kContext; --offset) {
      const double found = alternating_maximum(head, radius, offset, random);
      RC_ASSERT(found <= everywhere);
      RC_ASSERT(found <= context.bound);
    }
    for (const double offset : {1.5, 1e3, -123456.7}) {
      RC_ASSERT(alternating_maximum(head, radius, offset, random) <= everywhere);
    }
    // Any D, t, t', X that anyone hands in is certified too.
    Scaling wild = scaling;
    std::normal_distribution<double> normal;
    for (double& value : wild.d) value *= std::exp(normal(random));
    for (const auto& [i, j] : head.rotation.pairs) {
      wild.d[static_cast<std::size_t>(j)] = wild.d[static_cast<std::size_t>(i)];
    }
    wild.t_q *= std::exp(normal(random));
    RC_ASSERT(certified_scaled(head.rotation, q, k, wild) >=
              alternating_maximum(head, radius, -3.0, random));
  }));
}

TEST(Rope, MixingUnrotatedCoordinatesHelps) {
  // Coordinates that do not turn and whose parts cancel in A^T B: no diagonal sees it, X does.
  std::mt19937_64 random(3);
  const Rotation rotation = make(6, 2, Pairing::half_split);
  Matrix a = gaussian(6, 12, random);
  Matrix b = gaussian(6, 12, random);
  for (int c = 0; c < 12; ++c) {
    a(0, c) = a(1, c) = b(0, c) = b(1, c) = 0.0;
    a(3, c) = a(2, c) * 1.001;
    b(3, c) = -b(2, c);
  }
  const Matrix g_a = inflated(gram_from(a, false));
  const Matrix g_b = inflated(gram_from(b, false));
  const Side q{&g_a, {}, 1.0};
  const Side k{&g_b, {}, 1.0};
  const Scaling without = optimal_scaling(rotation, q, k, {.evaluations = 0, .mix_fixed = false});
  const Scaling with = optimal_scaling(rotation, q, k);
  const double exact = sigma_at(rotation, a, b, 0.0);
  EXPECT_GT(without.value, 1.2 * exact);
  EXPECT_LT(with.value, 1.01 * exact);
  const double certified = certified_scaled(rotation, q, k, with);
  EXPECT_GE(certified, exact);
  EXPECT_LE(certified, 1.01 * exact);
}

TEST(Rope, LargeHeadsFollowTheSubspace) {
  // Above 32 coordinates the search sees the top of the spectrum only; it must still gain, and never lose.
  std::mt19937_64 random(4);
  for (const int n : {64, 128}) {
    RopeHead head = random_head(random, false, n / 2, 0);
    const Gram a = gram_from(head.a, false);
    const Gram b = gram_from(head.b, false);
    const Side q{&a.values, {}, 1.0};
    const Side k{&b.values, {}, 1.0};
    const Scaling balanced = balanced_scaling(head.rotation, q, k);
    const Scaling found = optimal_scaling(head.rotation, q, k);
    const Scaling longer = optimal_scaling(head.rotation, q, k, {.evaluations = 60});
    EXPECT_LE(found.value, balanced.value);
    EXPECT_LE(longer.value, found.value * (1.0 + 1e-9));
    const Supremum supremum = sampled_supremum(
        head.rotation, q, k, found, sampled_turns(head.rotation, sampled_offsets(4096, 16)), 16);
    EXPECT_LE(supremum.value, longer.value);
    EXPECT_NEAR(supremum.value, sigma_at(head.rotation, head.a, head.b, supremum.offset),
                1e-3 * supremum.value);
    EXPECT_LE(supremum.value,
              sigma_at(head.rotation, head.a, head.b, supremum.offset) * (1.0 + 1e-6));
  }
}

TEST(Rope, BoundedContextSeesSlowPairs) {
  // Query in a pair's first coordinate, key in its second: the score grows with the angle, which a short context never
  // completes. The free bound is 1; offsets up to 15 at 0.01 radians reach sin(0.15).
  const Rotation rotation =
      make_rotation(2, 2, Pairing::half_split, std::vector<double>{0.01}).value();
  Matrix g_a(2, 2);
  Matrix g_b(2, 2);
  g_a(0, 0) = 1.0;
  g_b(1, 1) = 1.0;
  const Side q{&g_a, {}, 1.0};
  const Side k{&g_b, {}, 1.0};
  Scaling ones;
  ones.d = {1.0, 1.0};
  EXPECT_GE(certified_scaled(rotation, q, k, ones), 1.0);
  const ContextBound got = bounded_context(rotation, q, k, ones, {.context = 16});
  EXPECT_GE(got.bound, std::sin(0.15));
  EXPECT_LE(got.bound, std::sin(0.15) * 1.02);
  EXPECT_NEAR(got.seen, std::sin(0.15), 0.02 * std::sin(0.15));
  EXPECT_EQ(bounded_context(rotation, q, k, ones, {.context = 16, .max_cells = 1}).cells, 1);
  EXPECT_LE(bounded_context(rotation, q, k, ones, {.context = 1}).bound, 3e-6);
}

TEST(Rope, ZeroHeads) {
  const Rotation rotation = make(4, 4, Pairing::half_split);
  const Matrix zero(4, 4);
  const Side q{&zero, {}, 2.0};
  const Scaling scaling = optimal_scaling(rotation, q, q);
  EXPECT_EQ(scaling.value, 0.0);
  EXPECT_EQ(certified_scaled(rotation, q, q, scaling), 0.0);
  EXPECT_EQ(
      sampled_supremum(rotation, q, q, scaling, sampled_turns(rotation, sampled_offsets(64, 16)))
          .value,
      0.0);
  EXPECT_EQ(bounded_context(rotation, q, q, scaling, {.context = 64}).bound, 0.0);
  // Biases alone: |a||b| is all there is.
  const std::vector<double> bias = {3.0, 0.0, 4.0, 0.0};
  const Side biased{&zero, bias, 2.0};
  const Scaling alone = optimal_scaling(rotation, biased, biased);
  EXPECT_GE(certified_scaled(rotation, biased, biased, alone), 25.0);
  EXPECT_LE(alone.value, 25.1);
}

// One side reads its input by one row, the other is a bias along it: |A^T b| at offset 0. Balancing rows against zeros took
// D so far that D G D underflowed.
TEST(Rope, AgainstABiasAlone) {
  const Matrix zero(4, 4);
  const Rotation rotation = make(4, 4, Pairing::half_split);
  for (const double size : {1.0, 1e-20, 1e-24, 1e-30, 1e-60, 1e30}) {
    Matrix rows(4, 4);
    rows(0, 0) = size * size;
    rows(1, 1) = 1e-2 * size * size;
    const std::vector<double> bias = {1e15, 0.0, 0.0, 0.0};
    const Side reads{&rows, {}, 2.0}, constant{&zero, bias, 2.0};
    const double attained = 2.0 * size * 1e15;
    for (const bool swapped : {false, true}) {
      const Side& q = swapped ? constant : reads;
      const Side& k = swapped ? reads : constant;
      const Scaling scaling = optimal_scaling(rotation, q, k);
      EXPECT_GE(certified_scaled(rotation, q, k, scaling), attained) << size;
      EXPECT_LE(certified_scaled(rotation, q, k, scaling), attained * 1.00001) << size;
    }
  }
}

TEST(Rope, SampledOffsets) {
  EXPECT_THAT(sampled_offsets(4096, 4), testing::ElementsAre(0.0, -1.0, -64.0, -4095.0));
  EXPECT_THAT(sampled_offsets(1, 16), testing::ElementsAre(0.0));
  EXPECT_THAT(sampled_offsets(2, 16), testing::ElementsAre(0.0, -1.0));
  EXPECT_THAT(sampled_offsets(0, 16), testing::IsEmpty());
  EXPECT_EQ(sampled_offsets(131072, 16).size(), 16U);
}

}  // namespace
}  // namespace ullage::spectrum
