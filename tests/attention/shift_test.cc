// What each shift subtracts, and what is left of rows whose maximum is repeated.
#include "ullage/attention/shift.h"

#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <limits>
#include <numbers>

#include "attention/fast_kernels.h"
#include "fast_tensors.h"

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
    const double offset = row_offset(
        7, {.batch = 1, .head = 2, .position = static_cast<std::size_t>(row), .bits = 9});
    EXPECT_GE(offset, std::numbers::ln2);
    EXPECT_LT(offset, 2 * std::numbers::ln2);
    sum += offset;
  }
  EXPECT_NEAR(sum / count, 1.5 * std::numbers::ln2,
              5 * std::numbers::ln2 / std::sqrt(12.0 * count));
}

TEST(Shift, OffsetsFollowAllThatTellsRowsApart) {
  const double offset = row_offset(7, {1, 2, 3, 9});
  EXPECT_EQ(offset, row_offset(7, {1, 2, 3, 9}));
  EXPECT_NE(offset, row_offset(8, {1, 2, 3, 9}));
  EXPECT_NE(offset, row_offset(7, {2, 2, 3, 9}));
  EXPECT_NE(offset, row_offset(7, {1, 3, 3, 9}));
  EXPECT_NE(offset, row_offset(7, {1, 2, 4, 9}));
  EXPECT_NE(offset, row_offset(7, {1, 2, 3, 8}));
}

// The same numbers in any type give the same bits; another sign, place or last bit gives others.
TEST(Shift, BitsOfAQueryAreThoseOfItsNumbers) {
  const std::vector<float> query = {1, -2, 0.5, 3};
  const auto bits = bits_of<float>(query);
  std::vector<Bf16> narrow;
  for (const float x : query)
    narrow.push_back({static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(x) >> 16)});
  EXPECT_EQ(bits_of<Bf16>(narrow), bits);
  EXPECT_EQ(bits_of<double>(std::vector<double>(query.begin(), query.end())), bits);
  for (const std::vector<float>& other : {std::vector<float>{1, 2, -0.5, 3},
                                          {-2, 1, 0.5, 3},
                                          {1, -2, 0.5, std::nextafter(3.0F, 4.0F)}})
    EXPECT_NE(bits_of<float>(other), bits);
}

// Every width up to two vectors of any path, and one beyond.
TEST(Shift, KernelsHashQueriesAsTheReferenceDoes) {
  for (const CpuPath path : fast_paths()) {
    for (int width = 1; width <= 65; ++width) {
      const auto numbers = random_tensors<float>({1, 1, 1, 3, 1, 80, 1}, 7).q;
      std::vector<Bf16> narrow;
      for (const float x : numbers) narrow.push_back(to_bf16(static_cast<double>(x)));
      std::array<std::uint32_t, 3> wide_bits = {};
      std::array<std::uint32_t, 3> narrow_bits = {};
      const FastKernels& kernels = *fast_kernels(path, false);
      kernels.row_bits({numbers.data(), false, 80, 3, width}, wide_bits.data());
      kernels.row_bits({narrow.data(), true, 80, 3, width}, narrow_bits.data());
      for (std::size_t i = 0; i < 3; ++i) {
        const auto count = static_cast<std::size_t>(width);
        EXPECT_EQ(wide_bits[i], bits_of<float>({&numbers[i * 80], count})) << width;
        EXPECT_EQ(narrow_bits[i], bits_of<Bf16>({&narrow[i * 80], count})) << width;
      }
    }
  }
}

// A token's row is the same bits whether it comes with the tokens before it or alone, after them.
TEST(Shift, PrefillAndDecodingAgree) {
  auto t = random_tensors<float>({1, 2, 1, 9, 24, 4, 4}, 4);
  for (std::size_t j = 0; j < 24; j += 2) std::copy_n(&t.k[8], 4, &t.k[j * 4]);
  t.options.mask = causal();
  const Shift shift{.rule = ShiftRule::stabilised, .seed = 5};
  const auto all = run_forward(t, bf16_flash(), {.shift = shift});
  for (std::size_t i = 0; i < 9; ++i) {
    Tensors<float> one = t;
    one.shape.queries = 1;
    one.shape.keys = 24 - 9 + i + 1;
    one.k.resize(one.shape.keys * 4);
    one.v.resize(one.shape.keys * 4);
    one.q.assign(&t.q[i * 4], &t.q[i * 4] + 4);
    one.q.insert(one.q.end(), &t.q[(9 + i) * 4], &t.q[(9 + i) * 4] + 4);
    const auto alone = run_forward(one, bf16_flash(), {.shift = shift});
    for (std::size_t h = 0; h < 2; ++h) {
      EXPECT_GT(alone.statistics[h].repeats, 0U);
      for (std::size_t c = 0; c < 4; ++c)
        EXPECT_EQ(alone.output[h * 4 + c], all.output[(h * 9 + i) * 4 + c]) << i;
    }
  }
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
