// Largest entries of Q, K and V: bounds that inputs attain and none passes, expected ones by their equation.
#include "ullage/bounds/projections.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <cmath>

#include "bounds/search.h"

namespace ullage::bounds {
namespace {

using made::Projection;
using spectrum::Matrix;

// The input along a coordinate's row attains its bound; along a pair's top singular vector the pair's length.
TEST(Projections, AmaxIsAttainedAndNeverPassed) {
  EXPECT_TRUE(rc::check([] {
    std::mt19937_64 random(*rc::gen::inRange<std::uint64_t>(0, 1U << 30));
    const int head_dim = *rc::gen::element(2, 4, 8);
    const int width = *rc::gen::element(3, 8, 30);
    const bool layer_norm = *rc::gen::arbitrary<bool>();
    Projection p{made::gaussian(head_dim, width, 1.0, random), {}, layer_norm};
    if (*rc::gen::arbitrary<bool>()) p.bias = made::gaussian(head_dim, 2.0, random);
    const Side side = made::side(p);
    const double radius = std::sqrt(width);
    const spectrum::Rotation rotation = made::rotation(head_dim, 2, true);
    const std::vector<Rows> alone = rows_of(side, {});
    const std::vector<Rows> paired = rows_of(side, rotation.pairs);
    for (int c = 0; c < head_dim; ++c) {
      const auto index = static_cast<std::size_t>(c);
      const std::vector<double> row(p.rows.row(c).begin(), p.rows.row(c).end());
      const double bias = p.bias.empty() ? 0.0 : p.bias[index];
      const double reached =
          std::abs(made::project(p, made::best_input(row, radius, layer_norm, bias))[index]);
      const double bound = amax({&alone[index], 1}, side.squared_norm);
      RC_ASSERT(bound >= reached * (1.0 - 1e-12));
      RC_ASSERT(bound <= reached * (1.0 + 1e-5) + 1e-6);
    }
    const auto [i, j] = rotation.pairs[0];
    double longest = 0.0;
    for (int step = 0; step < 200; ++step) {
      const double angle = 0.01 * 3.14159265 * step;
      std::vector<double> row(static_cast<std::size_t>(width));
      for (int c = 0; c < width; ++c) {
        row[static_cast<std::size_t>(c)] =
            std::cos(angle) * p.rows(i, c) + std::sin(angle) * p.rows(j, c);
      }
      for (const double sign : {1.0, -1.0}) {
        const std::vector<double> q =
            made::project(p, made::best_input(row, radius, layer_norm, sign));
        longest = std::max(
            longest, std::hypot(q[static_cast<std::size_t>(i)], q[static_cast<std::size_t>(j)]));
      }
    }
    const double bound = amax({&paired[static_cast<std::size_t>(i)], 1}, side.squared_norm);
    RC_ASSERT(bound >= longest * (1.0 - 1e-12));
    RC_ASSERT(bound <= (p.bias.empty() ? 1.001 : 1.5) * longest + 1e-6);
    RC_ASSERT(amax(paired, side.squared_norm) >= amax(alone, side.squared_norm) * (1.0 - 1e-12));
  }));
}

TEST(Projections, BeforeRopeTheAttentionFactorIsTakenOut) {
  std::mt19937_64 random(2);
  Projection p{made::gaussian(4, 16, 1.0, random), made::gaussian(4, 1.0, random), false};
  const std::vector<Rows> plain = rows_of(made::side(p), {});
  const spectrum::Rotation rotation = made::rotation(4, 2, false);
  for (int c = 0; c < 2; ++c) {
    for (double& value : p.rows.row(c)) value *= 1.25;
    p.bias[static_cast<std::size_t>(c)] *= 1.25;
  }
  const std::vector<Rows> before = rows_before_rope(made::side(p), rotation.pairs, 1.25);
  for (std::size_t c = 0; c < 4; ++c) {
    EXPECT_NEAR(before[c].norm, plain[c].norm, 1e-6);
    EXPECT_NEAR(before[c].bias, plain[c].bias, 1e-12);
  }
}

TEST(Projections, ValuesNeedTheirRowNormsOnly) {
  std::mt19937_64 random(3);
  const Projection p{made::gaussian(5, 12, 1.0, random), made::gaussian(5, 1.0, random), false};
  const Side side = made::side(p);
  std::vector<double> squares;
  for (int c = 0; c < 5; ++c) squares.push_back(side.gram(c, c));
  EXPECT_NEAR(amax(rows_of(squares, p.bias), 12.0), amax(rows_of(side, {}), 12.0), 1e-6);
  EXPECT_EQ(clipped_amax(7.0, 3.0), 3.0);
  EXPECT_EQ(clipped_amax(2.0, 3.0), 2.0);
}

TEST(Projections, ExpectedAmaxSolvesItsSum) {
  EXPECT_TRUE(rc::check([] {
    std::mt19937_64 random(*rc::gen::inRange<std::uint64_t>(0, 1U << 30));
    const int count = *rc::gen::element(1, 3, 64, 500);
    const double bias = *rc::gen::element(0.0, 0.1, 10.0);
    std::vector<Rows> rows;
    for (int c = 0; c < count; ++c) {
      const std::vector<double> g = made::gaussian(2, 1.0, random);
      rows.push_back({std::exp(g[0]), bias * std::abs(g[1])});
    }
    if (*rc::gen::arbitrary<bool>()) rows.push_back({0.0, 1.0});
    const std::int64_t context = *rc::gen::inRange<std::int64_t>(1, 1 << 20);
    const double probability = std::exp2(-*rc::gen::inRange(1, 100));
    const double t = expected_amax(rows, 64, false, context, probability);
    const auto sum = [&](double at) {
      double total = 0.0;
      for (const Rows& row : rows) {
        if (row.norm == 0.0) continue;
        const double z = std::max(at - row.bias, 0.0) / row.norm;
        total += 2.0 * static_cast<double>(context) * std::exp(-0.5 * z * z);
      }
      return total;
    };
    RC_ASSERT(sum(t) <= probability * (1.0 + 1e-6));
    RC_ASSERT((sum(t * (1.0 - 1e-4)) >= probability || t <= 1.0));
    for (const Rows& row : rows) RC_ASSERT(t >= row.bias);
    // More tokens, less chance, LayerNorm: larger.
    RC_ASSERT(expected_amax(rows, 64, false, 2 * context, probability) >= t * (1.0 - 1e-9));
    RC_ASSERT(expected_amax(rows, 64, false, context, 0.5 * probability) >= t * (1.0 - 1e-9));
    RC_ASSERT(expected_amax(rows, 64, true, context, probability) >= t * (1.0 - 1e-9));
  }));
  const std::vector<Rows> nothing = {{0.0, 0.0}};
  EXPECT_EQ(expected_amax(nothing, 8, false, 100, 1e-3), 0.0);
}

TEST(Projections, OutputsStayWithinTheirValuesAndWeights) {
  EXPECT_DOUBLE_EQ(output_amax(3.0, 0.0, 0.0), 3.0 * (1.0 + 64 * 0x1p-53));
  EXPECT_NEAR(output_amax(3.0, 0.25, 0x1p-8), 3.0 / 0.75 * (1.0 + 0x1p-8), 1e-12);
  const std::vector<Rows> heads = {{1.0, 0.5}, {2.0, 0.0}};
  EXPECT_NEAR(output_projection_amax(heads, 16.0, -3.0), 4.0 + 0.5 + 8.0 + 3.0, 1e-12);
}

}  // namespace
}  // namespace ullage::bounds
