// The reference's outputs against textbook attention, and the identities that masks, groups and packing keep.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "tensors.h"
#include "ullage/base/cpu.h"
#include "ullage/formats/scalar.h"

namespace ullage::attention::testing {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// Draws any problem that the reference takes, small.
Tensors<double> any_problem() {
  const auto size = [](int low, int high) {
    return static_cast<std::size_t>(*rc::gen::inRange(low, high));
  };
  Shape shape;
  shape.batch = size(1, 3);
  shape.kv_heads = size(1, 3);
  shape.query_heads = shape.kv_heads * size(1, 4);
  shape.queries = size(1, 20);
  shape.keys = size(1, 20);
  shape.width = size(1, 9);
  shape.value_width = size(1, 9);
  auto t = random_tensors<double>(shape, *rc::gen::inRange(0U, 1000U), 2);
  Mask& mask = t.options.mask;
  if (*rc::gen::arbitrary<bool>()) mask.right = size(0, 4);
  if (*rc::gen::arbitrary<bool>()) mask.left = size(0, 8);
  if (*rc::gen::arbitrary<bool>()) mask.alignment = Alignment::top_left;
  if (*rc::gen::arbitrary<bool>()) t.options.soft_cap = 3;
  if (*rc::gen::arbitrary<bool>()) t.options.scale = 0.7;
  if (*rc::gen::arbitrary<bool>()) t.sinks = normals(shape.query_heads, 5);
  if (*rc::gen::arbitrary<bool>()) {
    t.bias = normals(shape.query_heads * shape.queries * shape.keys, 6);
    for (std::size_t i = 0; i < t.bias.size(); i += 5) t.bias[i] = -kInfinity;
  }
  if (*rc::gen::arbitrary<bool>()) {
    t.padding.resize(shape.batch * shape.keys);
    for (auto& keep : t.padding) keep = *rc::gen::inRange(0, 4) != 0 ? 1 : 0;
  }
  return t;
}

Options any_options() {
  Options options;
  options.tiles = Tiles{static_cast<std::size_t>(*rc::gen::inRange(0, 9)),
                        static_cast<std::size_t>(*rc::gen::inRange(0, 9))};
  options.shift.rule =
      *rc::gen::element(ShiftRule::standard, ShiftRule::published, ShiftRule::stabilised);
  options.threads = *rc::gen::inRange(1, 4);
  return options;
}

// 1e-13: rows of at most 20 keys, |V| below 5, a few dozen roundings of 2^-53.
TEST(Forward, IsTheTextbookFormInFp64) {
  EXPECT_TRUE(rc::check("any mask, tile and shift", [] {
    const auto t = any_problem();
    const auto expected = textbook(t);
    const auto got = run_forward(t, fp64(), any_options());
    RC_ASSERT(largest_difference(expected.output, got.output) < 1e-13);
    RC_ASSERT(largest_difference(expected.log_sum_exp, got.log_sum_exp) < 1e-13);
  }));
}

TEST(Forward, TwoPassesGiveTheSameInFp64) {
  EXPECT_TRUE(rc::check("any mask and tile", [] {
    const auto t = any_problem();
    Recipe recipe = fp64();
    recipe.order = Order::two_pass;
    const auto got = run_forward(t, recipe, any_options());
    RC_ASSERT(largest_difference(textbook(t).output, got.output) < 1e-13);
  }));
}

TEST(Forward, ThreadsChangeNoBit) {
  const auto t = random_tensors<float>({2, 4, 2, 37, 41, 16, 8}, 1);
  for (const auto& name : recipe_names()) {
    Recipe recipe = *find_recipe(name);
    if (recipe.arithmetic == Arithmetic::fp64) continue;
    recipe[Quantity::weight].rounding = formats::Rounding::stochastic;
    Options one;
    one.tiles = Tiles{8, 16};
    Options many = one;
    many.threads = 5;
    EXPECT_EQ(run_both(t, recipe, one).output, run_both(t, recipe, many).output) << name;
    EXPECT_EQ(run_both(t, recipe, one).k, run_both(t, recipe, many).k) << name;
  }
}

TEST(Forward, CpuPathsChangeNoBit) {
  if (const auto why = refusal(CpuPath::avx2); !why.empty()) GTEST_SKIP() << why;
  const auto t = random_tensors<float>({1, 2, 1, 33, 45, 19, 21}, 2);
  const auto run = [&](CpuPath path) {
    const ScopedCpuPath forced(path);
    return run_both(t, bf16_flash());
  };
  const auto a = run(CpuPath::portable);
  const auto b = run(CpuPath::avx2);
  EXPECT_EQ(a.output, b.output);
  EXPECT_EQ(a.q, b.q);
  EXPECT_EQ(a.v, b.v);
}

TEST(Forward, RowsWithoutKeysAreZero) {
  auto t = random_tensors<float>({1, 1, 1, 6, 4, 8, 8}, 3);
  t.options.mask = causal(Alignment::bottom_right);  // queries 0 and 1 see nothing
  for (const auto& name : recipe_names()) {
    const Recipe recipe = *find_recipe(name);
    if (recipe.arithmetic == Arithmetic::fp64) continue;
    const auto r = run_both(t, recipe);
    for (int i = 0; i < 16; ++i) EXPECT_EQ(r.output[i], 0) << name;
    EXPECT_EQ(r.log_sum_exp[1], -kInfinity) << name;
    for (int i = 0; i < 16; ++i) EXPECT_EQ(r.q[i], 0) << name;
    for (const float x : r.k) EXPECT_TRUE(std::isfinite(x)) << name;
  }
}

TEST(Forward, NanStaysInItsRow) {
  auto t = random_tensors<float>({1, 1, 1, 4, 4, 8, 8}, 4);
  t.q[8] = std::numeric_limits<float>::quiet_NaN();
  const auto r = run_forward(t, fp32());
  for (int c = 0; c < 8; ++c) {
    EXPECT_FALSE(std::isnan(r.output[c]));
    EXPECT_TRUE(std::isnan(r.output[8 + c]));
    EXPECT_FALSE(std::isnan(r.output[16 + c]));
  }
  EXPECT_TRUE(std::isnan(r.log_sum_exp[1]));
}

TEST(Forward, MaskedKeysCountForNothingWhateverTheyHold) {
  auto t = random_tensors<float>({1, 1, 1, 5, 5, 8, 8}, 5);
  t.options.mask = causal();
  const auto clean = run_forward(t, fp32());
  for (int c = 0; c < 8; ++c) {
    t.v[32 + c] = std::numeric_limits<float>::infinity();
    t.k[32 + c] = std::numeric_limits<float>::quiet_NaN();
  }
  const auto dirty = run_forward(t, fp32());
  for (int e = 0; e < 32; ++e) EXPECT_EQ(clean.output[e], dirty.output[e]);
}

TEST(Forward, GroupedHeadsAreExpandedHeads) {
  const auto grouped = random_tensors<float>({2, 6, 2, 9, 11, 8, 4}, 6);
  auto expanded = grouped;
  expanded.shape.kv_heads = 6;
  const auto repeat = [](const std::vector<float>& x, std::size_t head) {
    std::vector<float> out;
    for (std::size_t begin = 0; begin < x.size(); begin += head) {
      for (int copy = 0; copy < 3; ++copy)
        out.insert(out.end(), x.begin() + static_cast<long>(begin),
                   x.begin() + static_cast<long>(begin + head));
    }
    return out;
  };
  expanded.k = repeat(grouped.k, 11 * 8);
  expanded.v = repeat(grouped.v, 11 * 4);
  const auto a = run_both(grouped, bf16_flash());
  const auto b = run_both(expanded, bf16_flash());
  EXPECT_EQ(a.output, b.output);
  EXPECT_EQ(a.q, b.q);
}

TEST(Forward, PermutedKeysGiveTheSameInFp64) {
  auto t = random_tensors<double>({1, 2, 2, 7, 13, 5, 6}, 7);
  const auto before = run_both(t, fp64());
  const auto reverse = [](std::vector<double>& x, std::size_t rows, std::size_t columns) {
    auto y = x;
    for (std::size_t r = 0; r < x.size() / columns; ++r) {
      const std::size_t head = r / rows;
      for (std::size_t c = 0; c < columns; ++c)
        y[(head * rows + (rows - 1 - r % rows)) * columns + c] = x[r * columns + c];
    }
    x = y;
  };
  reverse(t.k, 13, 5);
  reverse(t.v, 13, 6);
  auto after = run_both(t, fp64());
  reverse(after.k, 13, 5);
  EXPECT_LT(largest_difference(before.output, after.output), 1e-13);
  EXPECT_LT(largest_difference(before.q, after.q), 1e-13);
  EXPECT_LT(largest_difference(before.k, after.k), 1e-13);
}

// Packed sequences of 5, 0 and 9 queries over 7, 3 and 9 keys, against each of them alone.
TEST(Forward, PackedSequencesAreTheirOwnProblems) {
  const std::vector<std::size_t> query_starts = {0, 5, 5, 14};
  const std::vector<std::size_t> key_starts = {0, 7, 10, 19};
  auto all = random_tensors<double>({1, 2, 1, 14, 19, 4, 3}, 8);
  const auto batched = [&] {
    auto t = all;
    t.shape.batch = 3;
    t.options.mask = causal();
    t.options.packed = {query_starts, key_starts};
    return t;
  }();
  Results<double> r;
  auto outputs = outputs_of(all.shape, r);
  ASSERT_TRUE(forward(batched.inputs(), fp64(), {}, outputs).ok());
  for (std::size_t b : {0, 2}) {
    const std::size_t rows = query_starts[b + 1] - query_starts[b];
    const std::size_t keys = key_starts[b + 1] - key_starts[b];
    Tensors<double> one;
    one.shape = {1, 2, 1, rows, keys, 4, 3};
    one.options.mask = causal();
    for (std::size_t h = 0; h < 2; ++h)
      for (std::size_t e = 0; e < rows * 4; ++e)
        one.q.push_back(all.q[h * 14 * 4 + query_starts[b] * 4 + e]);
    one.k.assign(&all.k[key_starts[b] * 4], &all.k[key_starts[b] * 4] + keys * 4);
    one.v.assign(&all.v[key_starts[b] * 3], &all.v[key_starts[b] * 3] + keys * 3);
    const auto alone = run_forward(one, fp64());
    for (std::size_t h = 0; h < 2; ++h)
      for (std::size_t e = 0; e < rows * 3; ++e)
        EXPECT_EQ(alone.output[h * rows * 3 + e], r.output[h * 14 * 3 + query_starts[b] * 3 + e]);
  }
}

// Table A.2's steps written out for one row and whole rows as one tile, with sums that FP32 holds
// exactly (operands are small multiples of 1/8), so that no order of addition matters.
TEST(Forward, PaperRecipeRoundsWhereTheTableSays) {
  const std::size_t keys = 24;
  Tensors<float> t;
  t.shape = {1, 1, 1, 1, keys, 4, 2};
  std::mt19937 engine(9);
  const auto eighths = [&](std::size_t count, int limit) {
    std::vector<float> out(count);
    for (float& x : out)
      x = static_cast<float>(static_cast<int>(engine() % (2U * limit + 1)) - limit) / 8;
    return out;
  };
  t.q = eighths(4, 8);
  t.k = eighths(keys * 4, 8);
  t.v = eighths(keys * 2, 64);
  const auto r = run_forward(t, bf16_paper());
  const auto bf = [](double x) {
    return formats::round_to(formats::kBf16, x, {.overflow = formats::Overflow::non_saturating});
  };
  std::vector<double> s(keys);
  double m = -kInfinity;
  for (std::size_t j = 0; j < keys; ++j) {
    double x = 0;
    for (std::size_t c = 0; c < 4; ++c)
      x += static_cast<double>(t.q[c]) * static_cast<double>(t.k[j * 4 + c]);
    s[j] = bf(bf(x) * 0.5);
    m = std::max(m, s[j]);
  }
  double l = 0;
  double z[2] = {0, 0};
  for (std::size_t j = 0; j < keys; ++j) {
    const float p = static_cast<float>(std::exp(s[j] - m));
    l += static_cast<double>(p);
    for (int c = 0; c < 2; ++c)
      z[c] += bf(static_cast<double>(p)) * static_cast<double>(t.v[j * 2 + c]);
  }
  for (int c = 0; c < 2; ++c) {
    const double expected = bf(static_cast<double>(static_cast<float>(bf(z[c]) / bf(l))));
    EXPECT_EQ(static_cast<double>(r.output[c]), expected);
  }
}

// P-bar in E4M3 times 2^8, operands in E4M3 in units of their descales.
TEST(Forward, Fp8DescalesAreUnitsOfTheOperands) {
  auto t = random_tensors<float>({1, 2, 1, 9, 33, 16, 8}, 10);
  const std::vector<float> q = {0.03125F}, k = {0.0625F}, v = {0.5F};
  const auto exact = run_forward(random_tensors<double>({1, 2, 1, 9, 33, 16, 8}, 10), fp64());
  t.options.descales = {q, k, v};
  const auto scaled = run_forward(t, fp8_e4m3());
  // Unit 2^-4 on each operand and on P: scores move by about 2^-4 sqrt(2) |s|, outputs by 2^-4 |V|.
  EXPECT_LT(largest_difference(exact.output, scaled.output), 0.5);
  EXPECT_GT(largest_difference(exact.output, scaled.output), 1e-3);
  // Operands far below E4M3's range are lost without a descale, and are not with one.
  auto small = t;
  for (float& x : small.v) x *= 0x1p-20F;
  const std::vector<float> tiny = {0x1p-21F};
  small.options.descales.v = tiny;
  auto lost = small;
  lost.options.descales.v = {};
  const auto kept = run_forward(small, fp8_e4m3());
  const auto gone = run_forward(lost, fp8_e4m3());
  for (std::size_t e = 0; e < kept.output.size(); ++e) {
    EXPECT_EQ(gone.output[e], 0);
    EXPECT_EQ(kept.output[e] * 0x1p20F, scaled.output[e]);
  }
}

TEST(Forward, TwinKeepsTheWeightsAndRoundsNothingAfter) {
  const auto t = random_tensors<float>({1, 1, 1, 16, 64, 8, 8}, 11);
  const auto r = run_forward(t, bf16_flash());
  const auto bf = [](float x) {
    return static_cast<float>(formats::round_to(formats::kBf16, static_cast<double>(x),
                                                {.overflow = formats::Overflow::non_saturating}));
  };
  std::size_t moved = 0;
  for (std::size_t e = 0; e < r.output.size(); ++e) {
    EXPECT_EQ(r.output[e], bf(r.twin[e]));
    moved += r.output[e] != r.twin[e] ? 1 : 0;
  }
  EXPECT_GT(moved, r.output.size() / 2);
}

TEST(Forward, ArithmeticAndTypeMustAgree) {
  const auto t = random_tensors<float>({1, 1, 1, 2, 2, 2, 2}, 12);
  Results<float> r;
  const Status status = forward(t.inputs(), fp64(), {}, outputs_of(t.shape, r));
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().code, Code::usage);
}

TEST(Forward, NeedsAnOutput) {
  const auto t = random_tensors<float>({1, 1, 1, 2, 2, 2, 2}, 13);
  const Status status = forward(t.inputs(), fp32(), {}, Outputs<float>{});
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().where, "outputs.output");
}

}  // namespace
}  // namespace ullage::attention::testing
