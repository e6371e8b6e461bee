// Row statistics of the fast kernels against those of dense rows, repeats counted exactly.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fast_tensors.h"

namespace ullage::attention::testing {
namespace {

// Small integers in 8 columns: every score is exact in every format on the way, so that equal scores
// are equal on every path, and most rows have several equal maxima.
Tensors<double> integers(const Shape& shape, unsigned seed) {
  auto t = random_tensors<double>(shape, seed);
  for (auto* values : {&t.q, &t.k}) {
    for (double& x : *values) x = std::round(x);
  }
  t.options.scale = 0.5;
  return t;
}

template <class T>
void check_rows(const Tensors<double>& numbers, const Shift& shift, double error) {
  const FastTensors<T> t(numbers, Layout::bhnd);
  const auto exact = run_forward(t.exact, fp64());
  for (const CpuPath path : fast_paths()) {
    SCOPED_TRACE(name_of(path));
    const ScopedCpuPath forced(path);
    const auto got = run_fast(t, {.shift = shift, .threads = 2}, true);
    ASSERT_EQ(got.statistics.size(), exact.statistics.size());
    for (std::size_t i = 0; i < got.statistics.size(); ++i) {
      const RowStatistics& a = exact.statistics[i];
      const RowStatistics& b = got.statistics[i];
      ASSERT_EQ(a.keys, b.keys) << i;
      ASSERT_EQ(a.repeats, b.repeats) << i;
      if (a.keys == 0) continue;
      const double size = 1 + a.max_abs;
      ASSERT_NEAR(a.maximum, b.maximum, error * size) << i;
      if (std::isinf(a.second)) {
        ASSERT_EQ(a.second, b.second) << i;
      } else {
        ASSERT_NEAR(a.second, b.second, error * size) << i;
      }
      ASSERT_NEAR(a.max_abs, b.max_abs, error * size) << i;
      // A sum of exponentials is off by what its exponents are, relative to itself.
      ASSERT_NEAR(a.tail, b.tail, 4 * error * size * (1e-30 + a.tail)) << i;
      ASSERT_NEAR(a.tail_squares, b.tail_squares, 8 * error * size * (1e-30 + a.tail_squares)) << i;
      ASSERT_NEAR(a.squared_scores, b.squared_scores, 4 * error * (1 + a.squared_scores)) << i;
    }
  }
}

TEST(FastStatistics, AreThoseOfTheDenseRows) {
  for (const ShiftRule rule : {ShiftRule::standard, ShiftRule::stabilised}) {
    for (const Mask& mask : {Mask{}, causal(), sliding_window(70)}) {
      auto t = integers({2, 4, 2, 90, 600, 8, 8}, 3);
      t.options.mask = mask;
      check_rows<Bf16>(t, {.rule = rule}, 0x1p-20);
      check_rows<float>(t, {.rule = rule}, 0x1p-20);
    }
  }
}

TEST(FastStatistics, AreThoseOfTheDenseRowsWithPaddingAndCap) {
  auto t = integers({1, 2, 2, 90, 300, 8, 8}, 4);
  t.padding.assign(300, 1);
  for (std::size_t j = 0; j < 300; j += 3) t.padding[j] = 0;
  check_rows<Bf16>(t, {.rule = ShiftRule::stabilised}, 0x1p-20);
  // tanh rounds: scores that differ may become equal, so that no repeats are asked for here.
  auto capped = random_tensors<double>({1, 1, 1, 50, 300, 24, 24}, 5);
  capped.options.soft_cap = 4;
  check_rows<float>(capped, {}, 0x1p-20);
}

// Rows of several tiles whose largest scores, one each, stand in different ones: a maximum that is found
// first, last or in between, with the second largest before or after it.
TEST(FastStatistics, FindTheSecondLargestScoreInAnyTile) {
  auto t = integers({1, 1, 1, 20, 1800, 8, 8}, 10);
  for (std::size_t i = 0; i < 20; ++i) {
    for (std::size_t c = 0; c < 8; ++c) t.q[i * 8 + c] = c == i % 4 ? (i % 8 < 4 ? 1 : -1) : 0;
  }
  const auto place = [&](std::size_t column, std::size_t key, double score) {
    t.k[key * 8 + column] = score;
  };
  place(0, 17, 40), place(0, 1100, 39), place(0, 1700, -40), place(0, 1101, -39);
  place(1, 1500, 40), place(1, 600, 39), place(1, 700, -40), place(1, 90, -39);
  place(2, 600, 40), place(2, 610, 39), place(2, 10, -40), place(2, 1799, -39);
  place(3, 1000, 40), place(3, 1030, 40), place(3, 5, -40), place(3, 1200, -40);
  for (const ShiftRule rule : {ShiftRule::standard, ShiftRule::stabilised}) {
    check_rows<Bf16>(t, {.rule = rule}, 0x1p-20);
    check_rows<float>(t, {.rule = rule}, 0x1p-20);
  }
}

void expect_no_softmax(const RowStatistics& row) {
  EXPECT_EQ(row.keys, 40U);
  EXPECT_EQ(row.repeats, 0U);
  for (const double x : {row.maximum, row.second, row.tail, row.tail_squares, row.max_abs})
    EXPECT_TRUE(std::isnan(x));
  EXPECT_FALSE(std::isfinite(row.squared_scores));
  EXPECT_TRUE(std::isnan(largest_probability(row)));
  EXPECT_TRUE(std::isnan(jacobian_norm(row).lower));
  EXPECT_TRUE(std::isnan(jacobian_norm(row).upper));
}

void expect_no_softmax(const HeadStatistics& head) {
  EXPECT_EQ(head.rows, 3U);
  EXPECT_EQ(head.empty_rows, 0U);
  for (const double x : {head.max_abs, head.probability_norm, head.jacobian.lower,
                         head.jacobian.upper, head.row_condition.lower, head.row_condition.upper,
                         kappa_softmax(head).lower, kappa_softmax(head).upper})
    EXPECT_TRUE(std::isnan(x));
}

// One score of row 1 is not a number, or infinite: neither a row without keys nor a healthy one.
TEST(FastStatistics, ARowWithoutASoftmaxIsNotANumber) {
  for (const double broken : {std::nan(""), std::numeric_limits<double>::infinity()}) {
    auto t = integers({1, 1, 1, 3, 40, 8, 8}, 6);
    for (std::size_t j = 0; j < 40; ++j) t.k[j * 8] = std::fabs(t.k[j * 8]) + 1;
    t.q[8] = broken;
    const auto reference = run_forward(t, fp64());
    expect_no_softmax(reference.statistics[1]);
    expect_no_softmax(reduce(reference.statistics));
    for (const CpuPath path : fast_paths()) {
      SCOPED_TRACE(name_of(path));
      const ScopedCpuPath forced(path);
      const auto narrow = run_fast(FastTensors<Bf16>(t, Layout::bhnd), {}, true);
      const auto wide = run_fast(FastTensors<float>(t, Layout::bhnd), {}, true);
      for (const auto* got : {&narrow, &wide}) {
        EXPECT_TRUE(std::isnan(got->output[8]));
        expect_no_softmax(got->statistics[1]);
        expect_no_softmax(got->heads[0]);
        EXPECT_EQ(got->statistics[0].maximum, reference.statistics[0].maximum);
      }
    }
  }
}

// A scale that is no FP32 number any more is the reference's.
TEST(FastStatistics, AScaleBelowFp32GivesTheMeanOfTheValues) {
  auto t = random_tensors<double>({1, 1, 1, 2, 9, 8, 8}, 6);
  t.options.scale = 1e-46;
  const FastTensors<float> tensors(t, Layout::bhnd);
  EXPECT_THAT(fast_path_reason(tensors.inputs(), {}), ::testing::HasSubstr("FP32"));
  const auto got = run_fast(tensors, {});
  double mean = 0;
  for (std::size_t j = 0; j < 9; ++j) mean += tensors.exact.v[j * 8] / 9;
  EXPECT_NEAR(got.output[0], mean, 1e-6);
}

// A maximum far above the rest: l - 1 is 1e-9 of l, and is kept.
TEST(FastStatistics, KeepASmallTail) {
  auto t = integers({1, 1, 1, 4, 40, 8, 8}, 6);
  for (std::size_t c = 0; c < 8; ++c) t.k[17 * 8 + c] = 0;
  for (std::size_t i = 0; i < 4; ++i) {
    for (std::size_t c = 1; c < 8; ++c) t.q[i * 8 + c] = 0;
    t.q[i * 8] = 8;
  }
  for (std::size_t j = 0; j < 40; ++j) t.k[j * 8] = j == 17 ? 6 : 0;
  check_rows<Bf16>(t, {.rule = ShiftRule::stabilised}, 0x1p-20);
  const FastTensors<float> tensors(t, Layout::bhnd);
  const auto r = run_fast(tensors, {}, true);
  EXPECT_LT(r.statistics[0].tail, 1e-8);
  EXPECT_GT(r.statistics[0].tail, 1e-10);
}

TEST(FastStatistics, HeadsAreTheRowsReduced) {
  auto t = integers({2, 3, 1, 200, 200, 8, 8}, 7);
  t.options.mask = causal();
  const FastTensors<Bf16> tensors(t, Layout::bhnd);
  const auto r = run_fast(tensors, {.threads = 2}, true);
  for (std::size_t h = 0; h < r.heads.size(); ++h) {
    const auto whole = reduce(std::span(r.statistics).subspan(h * 200, 200));
    const HeadStatistics& parts = r.heads[h];
    EXPECT_EQ(whole.rows, parts.rows);
    EXPECT_EQ(whole.repeated_rows, parts.repeated_rows);
    EXPECT_EQ(whole.max_abs, parts.max_abs);
    EXPECT_NEAR(whole.score_norm, parts.score_norm, 1e-13 * whole.score_norm);
    EXPECT_NEAR(whole.probability_norm, parts.probability_norm, 1e-13 * whole.probability_norm);
    EXPECT_EQ(whole.jacobian.lower, parts.jacobian.lower);
    EXPECT_EQ(whole.row_condition.upper, parts.row_condition.upper);
  }
}

// Asking for statistics changes no bit of the output, and the stabilised rule none of rows without a
// repeated maximum.
TEST(FastStatistics, CostNothingInTheOutput) {
  auto t = random_tensors<double>({1, 2, 2, 100, 500, 64, 64}, 8);
  t.options.mask = causal();
  const FastTensors<Bf16> tensors(t, Layout::bhnd);
  for (const CpuPath path : fast_paths()) {
    const ScopedCpuPath forced(path);
    const auto plain = run_fast(tensors, {});
    EXPECT_EQ(plain.output, run_fast(tensors, {}, true).output);
    const FastOptions stabilised = {.shift = {.rule = ShiftRule::stabilised}};
    EXPECT_EQ(plain.output, run_fast(tensors, stabilised).output);
  }
}

// Two keys that share the maximum, V one-signed, a small tail: the standard shift gives entries of
// exactly 1, the stabilised one takes another way to the same number, within P-bar's and O's rounding.
TEST(FastStatistics, TheStabilisedShiftActsOnRepeatedMaxima) {
  auto t = integers({1, 1, 1, 64, 300, 8, 8}, 9);
  const FastTensors<Bf16> tensors(t, Layout::bhnd);
  const auto exact = textbook(tensors.exact);
  for (const CpuPath path : fast_paths()) {
    const ScopedCpuPath forced(path);
    const auto standard = run_fast(tensors, {});
    const auto one = run_fast(tensors, {.shift = {.rule = ShiftRule::stabilised, .seed = 1}});
    const auto two = run_fast(tensors, {.shift = {.rule = ShiftRule::stabilised, .seed = 2}});
    const double limit = 3 * kUnit<Bf16> * largest_size(t.v);
    EXPECT_LE(worst_error(exact.output, one.output), limit);
    EXPECT_LE(worst_error(exact.output, two.output), limit);
    if (path == CpuPath::avx512_bf16) {
      EXPECT_NE(standard.output, one.output);
      EXPECT_NE(one.output, two.output);
    }
  }
}

}  // namespace
}  // namespace ullage::attention::testing
