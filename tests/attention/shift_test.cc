// What each shift subtracts, and what is left of rows whose maximum is repeated.
#include "ullage/attention/shift.h"

#include <gtest/gtest.h>

#include <limits>
#include <numbers>

#include "tensors.h"

namespace ullage::attention::testing {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr RowMaximum<double> kNothing = {-kInfinity, 0, {-kInfinity, 0}};

TEST(Shift, NamesRoundTrip) {
  for (const auto rule : {ShiftRule::standard, ShiftRule::published, ShiftRule::stabilised})
    EXPECT_EQ(*shift_rule_from_name(name_of(rule)), rule);
  EXPECT_EQ(shift_rule_from_name("none").error().code, Code::usage);
}

TEST(Shift, OptionsOutOfRangeAreNamed) {
  EXPECT_EQ(check({.beta = 0.5}).error().where, "beta");
  EXPECT_EQ(check({.tolerance = -1}).error().where, "tolerance");
  EXPECT_EQ(check({.beta = 0.5}).error().code, Code::value_invalid);
}

// Mean 1.5 ln 2 within 5 standard errors of a uniform's mean, both ends kept.
TEST(Shift, OffsetsAreUniformInTheirBinade) {
  double sum = 0;
  const int count = 40000;
  for (int row = 0; row < count; ++row) {
    const double offset = row_offset(7, 1, 2, static_cast<std::size_t>(row));
    EXPECT_GE(offset, std::numbers::ln2);
    EXPECT_LT(offset, 2 * std::numbers::ln2);
    sum += offset;
  }
  EXPECT_NEAR(sum / count, 1.5 * std::numbers::ln2,
              5 * std::numbers::ln2 / std::sqrt(12.0 * count));
  EXPECT_NE(row_offset(7, 1, 2, 3), row_offset(8, 1, 2, 3));
  EXPECT_NE(row_offset(7, 1, 2, 3), row_offset(7, 2, 2, 3));
  EXPECT_NE(row_offset(7, 1, 2, 3), row_offset(7, 1, 3, 3));
}

TEST(Shift, StandardSubtractsTheMaximum) {
  const Shift shift;
  auto row = advance(kNothing, 2.0, 2, 2, shift, 0.0);
  EXPECT_EQ(row.subtrahend.value, 2);
  row = advance(row, 1.0, 3, 3, shift, 0.0);
  EXPECT_EQ(row.subtrahend.value, 2);
  EXPECT_EQ(row.repeats, 2U);
}

// [F], algorithm 1 with the authors' reading of step 10 and their treatment of 0.
TEST(Shift, PublishedMovesRepeatedMaximaByTheirSign) {
  Shift shift{.rule = ShiftRule::published, .beta = 7};
  EXPECT_EQ(advance(kNothing, 2.0, 2, 2, shift, 0.0).subtrahend.value, 14);
  EXPECT_EQ(advance(kNothing, 2.0, 1, 1, shift, 0.0).subtrahend.value, 2);
  EXPECT_EQ(advance(kNothing, -2.0, 2, 2, shift, 0.0).subtrahend.value, 0);
  EXPECT_EQ(advance(kNothing, 0.0, 2, 2, shift, 0.0).subtrahend.value, 0);
  // Counted within a tile: the same two scores in two tiles are not repeated.
  const auto row = advance(advance(kNothing, 2.0, 1, 1, shift, 0.0), 2.0, 1, 1, shift, 0.0);
  EXPECT_EQ(row.subtrahend.value, 2);
}

TEST(Shift, StabilisedCountsOverTheRowSoFar) {
  const Shift shift{.rule = ShiftRule::stabilised};
  auto row = advance(kNothing, 2.0, 1, 1, shift, 0.8);
  EXPECT_EQ(row.subtrahend.offset, 0);
  row = advance(row, 2.0, 1, 1, shift, 0.8);
  EXPECT_EQ(row.subtrahend.value, 2);
  EXPECT_EQ(row.subtrahend.offset, 0.8);
  row = advance(row, 3.0, 1, 1, shift, 0.8);  // a new maximum, seen once
  EXPECT_EQ(row.subtrahend.offset, 0);
}

TEST(Shift, ASinkIsNoRepeat) {
  const Shift shift{.rule = ShiftRule::stabilised};
  const RowMaximum<double> sink = {2, 0, {2, 0}};
  EXPECT_EQ(advance(sink, 2.0, 1, 1, shift, 0.8).subtrahend.offset, 0);
  EXPECT_EQ(advance(sink, 2.0, 2, 2, shift, 0.8).subtrahend.offset, 0.8);
}

// Rows of two keys with one score `m`: what is left of them under each rule, in FP32.
Results<float> two_equal_scores(float m, Shift shift) {
  Tensors<float> t;
  t.shape = {1, 1, 1, 4, 2, 1, 1};
  t.q = {m, m, m, m};
  t.k = {1, 1};
  t.v = {-3, -5};
  t.options.scale = 1;
  Recipe recipe = bf16_flash();
  return run_forward(t, recipe, {.shift = shift});
}

TEST(Shift, PublishedLosesRowsThatOursKeeps) {
  const Shift published{.rule = ShiftRule::published};
  const Shift ours{.rule = ShiftRule::stabilised};
  for (const float m : {112.0F, 1024.0F, 65536.0F, 1e9F, 1e37F}) {
    EXPECT_TRUE(std::isnan(two_equal_scores(m, published).output[0])) << m;
    for (const float m_signed : {m, -m}) {
      const auto row = two_equal_scores(m_signed, ours);
      EXPECT_NEAR(row.output[0], -4, 0x1p-6) << m_signed;
      EXPECT_EQ(row.ones[0], 0U) << m_signed;
    }
  }
}

TEST(Shift, PublishedKeepsOnesAtZeroThatOursRemoves) {
  EXPECT_EQ(two_equal_scores(0, {.rule = ShiftRule::published}).ones[0], 2U);
  EXPECT_EQ(two_equal_scores(0, {.rule = ShiftRule::stabilised}).ones[0], 0U);
}

TEST(Shift, RowsWithoutARepeatKeepTheirBits) {
  const auto t = random_tensors<float>({1, 2, 2, 16, 48, 16, 16}, 3);
  const auto a = run_forward(t, bf16_flash(), {.shift = {.rule = ShiftRule::standard}});
  const auto b = run_forward(t, bf16_flash(), {.shift = {.rule = ShiftRule::stabilised}});
  EXPECT_EQ(a.output, b.output);
  for (const auto& row : a.statistics) EXPECT_EQ(row.repeats, 1U);
}

// Which rows are shifted is the row's own matter: any tiling leaves the same state, and in FP64 the
// same output.
TEST(Shift, StabilisedDoesNotDependOnTheTiling) {
  auto t = random_tensors<double>({1, 2, 1, 6, 24, 4, 4}, 4);
  for (std::size_t j = 0; j < 24; j += 7)
    std::copy_n(&t.k[8], 4, &t.k[j * 4]);  // keys 0, 7, 14, 21 alike
  const Shift shift{.rule = ShiftRule::stabilised, .seed = 5};
  const auto whole = run_forward(t, fp64(), {.shift = shift, .tiles = Tiles{0, 0}});
  for (const std::size_t keys : {1, 3, 7, 8, 23}) {
    const auto tiled = run_forward(t, fp64(), {.shift = shift, .tiles = Tiles{2, keys}});
    EXPECT_LT(largest_difference(whole.output, tiled.output), 1e-14);
    EXPECT_LT(largest_difference(whole.log_sum_exp, tiled.log_sum_exp), 1e-14);
  }
}

}  // namespace
}  // namespace ullage::attention::testing
