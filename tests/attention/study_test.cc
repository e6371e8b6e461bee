// Signed errors, made inputs and the study: no bias where there is none, the published one where it is.
#include "ullage/attention/study.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "ullage/attention/biased_rounding.h"
#include "ullage/attention/switches.h"

namespace ullage::attention {
namespace {

TEST(SignedError, FiguresOfKnownClusters) {
  SignedErrorSum sum;
  const std::vector<double> a = {1, 3};
  const std::vector<double> b = {-1, 1};
  const std::vector<double> c = {4, NAN};
  SignedErrorSum other;
  sum.add(a);
  sum.add(b);
  other.add(c);
  sum.merge(other);
  const SignedError e = sum.result();
  EXPECT_EQ(e.count, 5U);
  EXPECT_EQ(e.clusters, 3U);
  EXPECT_EQ(sum.not_finite(), 1U);
  EXPECT_DOUBLE_EQ(e.mean, 8.0 / 5);
  // Cluster means 2, 0, 4: variance 8/3, over 2.
  EXPECT_DOUBLE_EQ(e.standard_error, std::sqrt(8.0 / 6));
  EXPECT_EQ(e.positive, 2U);
  EXPECT_EQ(e.negative, 0U);
  EXPECT_EQ(std::accumulate(sum.histogram().counts.begin(), sum.histogram().counts.end(), 0U), 5U);
  EXPECT_EQ(sum.histogram().counts.back(), 2U);  // 3 and 4 lie outside
}

TEST(SignedError, SignTestKnowsACoinFromABias) {
  SignedErrorSum coin;
  SignedErrorSum bias;
  for (int i = 0; i < 400; ++i) {
    const double x = i % 2 == 0 ? 1 : -1;
    coin.add({&x, 1});
    const double y = i % 4 == 0 ? -1 : 1;
    bias.add({&y, 1});
  }
  EXPECT_EQ(coin.result().sign_probability, 1);
  EXPECT_LT(bias.result().sign_probability, 1e-20);
}

TEST(Generator, NormalNumbersAreNormal) {
  const Generator generator(3, 1);
  const int count = 20000;
  double sum = 0;
  double squares = 0;
  double fourth = 0;
  for (int i = 0; i < count; ++i) {
    const double x = generator.normal(static_cast<std::uint64_t>(i));
    sum += x;
    squares += x * x;
    fourth += x * x * x * x;
  }
  // Five standard errors: 1, sqrt(2) and sqrt(96) over sqrt(n).
  const double error = 5 / std::sqrt(static_cast<double>(count));
  EXPECT_NEAR(sum / count, 0, error);
  EXPECT_NEAR(squares / count, 1, error * std::sqrt(2.0));
  EXPECT_NEAR(fourth / count, 3, error * std::sqrt(96.0));
  EXPECT_EQ(generator.normal(7), Generator(3, 1).normal(7));
  EXPECT_NE(generator.normal(7), Generator(3, 2).normal(7));
}

TEST(Made, NamesRoundTripAndSizesAreChecked) {
  for (const Made made : {Made::normal, Made::repeated, Made::adversarial})
    EXPECT_EQ(*made_from_name(name_of(made)), made);
  EXPECT_EQ(made_from_name("odd").error().code, Code::usage);
  EXPECT_EQ(make(Made::normal, 0, 1).error().code, Code::value_invalid);
  EXPECT_EQ(make_repeated({.queries = 300}).error().code, Code::value_invalid);
  EXPECT_EQ(make_repeated({.keys = 3}).error().code, Code::value_invalid);
  EXPECT_EQ(make_planted({.features = 65}).error().code, Code::value_invalid);
  auto inputs = *make(Made::repeated, 1, 1);
  inputs.v.pop_back();
  EXPECT_EQ(check(inputs).error().code, Code::size_mismatch);
}

// The scores are the keys: k equal maxima a row, nothing else within the depth's reach.
TEST(Made, RepeatedRowsAreWhatWasAsked) {
  const auto one = *make_repeated({.heads = 2, .keys = 128, .repeats = 3, .threads = 1});
  const auto two = *make_repeated({.heads = 2, .keys = 128, .repeats = 3, .threads = 3});
  EXPECT_EQ(one.k, two.k);
  EXPECT_EQ(one.v, two.v);
  const auto found = *study(one, bf16_flash(), {});
  EXPECT_EQ(found.rows, 128U);
  EXPECT_EQ(found.repeated_rows, 128U);
  EXPECT_EQ(found.ones, 3 * 128U);
  EXPECT_EQ(found.entries, 128 * 128U);
  EXPECT_NEAR(found.tail_mass, 125 * std::exp(-17.5) / 3, 5e-7);
}

TEST(Study, UlpFollowsTheFormat) {
  EXPECT_EQ(ulp(formats::kBf16, 1.0), 0x1p-7);
  EXPECT_EQ(ulp(formats::kBf16, -3.9), 0x1p-6);
  EXPECT_EQ(ulp(formats::kFp32, 4.0), 0x1p-21);
  EXPECT_EQ(ulp(formats::kE4M3, 0.0), 0x1p-9);
}

TEST(Study, HeadsTogetherAreTheHeads) {
  const auto inputs = *make_repeated({.heads = 3, .keys = 64});
  const auto all = *study(inputs, bf16_paper(), {.threads = 2});
  std::size_t rows = 0;
  double sum = 0;
  for (std::size_t h = 0; h < 3; ++h) {
    const auto head = *study_head(inputs, bf16_paper(), {}, 0, h);
    rows += head.rows;
    sum += head.output.mean / 3;
    EXPECT_DOUBLE_EQ(delta_errors(inputs, bf16_paper(), {}, 0, h)->result().mean, head.delta.mean);
  }
  EXPECT_EQ(all.rows, rows);
  EXPECT_NEAR(all.output.mean, sum, 1e-12);
  EXPECT_EQ(study_head(inputs, bf16_paper(), {}, 0, 3).error().code, Code::usage);
}

TEST(Study, NormalInputsAreNotBiasedInAnyRecipe) {
  const auto inputs = *make(Made::normal, 1, 5);
  for (const char* name : {"fp32", "bf16-flash", "bf16-paper", "bf16-standard", "fp16"}) {
    for (const ShiftRule rule : {ShiftRule::standard, ShiftRule::stabilised}) {
      const auto found =
          *study(inputs, *find_recipe(name), {.shift = {.rule = rule}, .threads = 2});
      EXPECT_EQ(found.lost_rows, 0U);
      EXPECT_LT(std::fabs(found.output.mean), 0.01 + 4 * found.output.standard_error) << name;
      EXPECT_GT(found.delta.sign_probability, 1e-4) << name;
    }
  }
}

TEST(Study, Fp32ShowsNoBias) {
  for (const std::size_t repeats : {2, 3}) {
    BiasedCase biased;
    biased.repeats = repeats;
    const auto found = *measure_biased(biased, fp32(), {.rows = 256, .features = 16});
    EXPECT_EQ(found.repeated_rows, 256U);
    EXPECT_LT(std::fabs(found.output.mean * 0x1p-16), 1e-3);  // in ulp of BF16
  }
}

// Maxima that are shared, 128, 0, -5, half the keys apart, 2^24: the published rule loses the rows of
// large maxima and leaves 1s at 0; ours neither, in both recipes.
TEST(Study, AdversarialRowsBreakThePublishedRuleNotOurs) {
  const auto inputs = *make(Made::adversarial, 6, 1);
  const auto run = [&](const Recipe& recipe, ShiftRule rule, Tiles tiles) {
    return *study(inputs, recipe,
                  {.shift = {.rule = rule, .seed = 3}, .tiles = tiles, .threads = 2});
  };
  const Tiles whole = {0, 0};
  const Tiles parts = {64, 128};
  for (const Recipe& recipe : {bf16_flash(), bf16_paper()}) {
    const auto standard = run(recipe, ShiftRule::standard, whole);
    EXPECT_EQ(standard.repeated_rows, 6 * 64U);
    EXPECT_EQ(standard.ones, 2 * 6 * 64U);
    EXPECT_EQ(standard.lost_rows, 0U);
    const auto published = run(recipe, ShiftRule::published, whole);
    EXPECT_EQ(published.lost_rows, 2 * 64U);  // at 128 and 2^24
    EXPECT_EQ(published.ones, 2 * 64U);       // at 0
    const auto ours = run(recipe, ShiftRule::stabilised, whole);
    EXPECT_EQ(ours.lost_rows, 0U);
    EXPECT_EQ(ours.ones, 0U);
    // In parts the first maximum was 1 before the second was seen, as was every maximum that a later
    // part exceeded; nothing is lost either.
    const auto ours_in_parts = run(recipe, ShiftRule::stabilised, parts);
    EXPECT_EQ(ours_in_parts.lost_rows, 0U);
    EXPECT_LE(ours_in_parts.ones + 6 * 64U, run(recipe, ShiftRule::standard, parts).ones);
    // The published rule counts within a tile: two maxima in two tiles stay 1.
    EXPECT_GE(run(recipe, ShiftRule::published, parts).ones, 4 * 64U);
  }
}

TEST(Study, BiasAddsUpOverSteps) {
  const Recipe recipe = bf16_paper();
  const auto standard = *accumulated_bias(Made::repeated, 1, 9, 4, recipe, {.tiles = Tiles{0, 0}});
  ASSERT_EQ(standard.size(), 4U);
  for (std::size_t step = 1; step < 4; ++step) EXPECT_GT(standard[step], standard[step - 1]);
  const auto ours =
      *accumulated_bias(Made::repeated, 1, 9, 4, recipe,
                        {.shift = {.rule = ShiftRule::stabilised}, .tiles = Tiles{0, 0}});
  EXPECT_LT(std::fabs(ours[3]), standard[3] / 4);
}

// Tokens that share a direction and one sink: rank-1 terms that align, and a sum that adds up; a
// head without a sink: neither.
TEST(Study, WeightGradientErrorsAlignInAPlantedHead) {
  const auto inputs = *make_planted({.batch = 1});
  const auto planted = study_head(inputs, bf16_paper(), {}, 0, 0)->alignment;
  const auto ordinary = study_head(inputs, bf16_paper(), {}, 0, 3)->alignment;
  EXPECT_GT(planted.key_cosine, 0.99);
  EXPECT_NEAR(planted.input_cosine, 0.64, 0.05);
  EXPECT_NEAR(planted.pair_cosine, planted.key_cosine * planted.input_cosine, 0.02);
  EXPECT_GT(planted.sum_share, 0.6);
  EXPECT_GT(planted.top_share, 0.99);
  EXPECT_LT(ordinary.sum_share, 0.3);
}

TEST(Study, Fp64RecipesAreRefused) {
  const auto inputs = *make_repeated({.heads = 1, .keys = 16});
  EXPECT_EQ(study(inputs, fp64(), {}).error().code, Code::usage);
}

TEST(RoundingVector, IsBitExact) {
  const auto rows = *rounding_vector();
  ASSERT_EQ(rows.size(), 2U);
  for (const ValueRow& row : rows) EXPECT_EQ(row.ours, *row.published) << row.quantity;
  const auto steps = *rounding_vector_steps();
  ASSERT_EQ(steps.size(), 3U);
  EXPECT_EQ(steps[0].sum_bits, 0xC01A0000);
  EXPECT_EQ(steps[1].sum_bits, 0xC0968000);      // a + b, a tie
  EXPECT_EQ(steps[1].rounded_bits, 0xC0960000);  // goes to even
  EXPECT_EQ(steps[2].sum_bits, 0xC0968717);
  EXPECT_EQ(steps[2].rounded_bits, 0xC0970000);  // goes away from zero
}

// The published law, at the precision of 1024 rows: within 0.015 ulp.
TEST(BiasedRounding, FollowsThePublishedLaw) {
  struct Line {
    std::size_t repeats;
    double depth;
    double standard;
  };
  for (const Line& line : {Line{1, 14, 0.25}, Line{2, 14, -0.125}, Line{2, 16, -0.234},
                           Line{2, 22, -0.248}, Line{2, 30, 0.002}, Line{3, 18, -0.151}}) {
    BiasedCase biased;
    biased.repeats = line.repeats;
    biased.depth = line.depth;
    const BiasedOptions options = {.rows = 1024, .features = 32, .threads = 2};
    const auto standard = *measure_biased(biased, bf16_paper(), options);
    EXPECT_NEAR(standard.unnormalised.mean, line.standard, 0.015) << line.depth;
    EXPECT_EQ(standard.ones, line.repeats * 1024);
    if (line.repeats == 1) continue;
    biased.shift.rule = ShiftRule::published;
    const auto moved = *measure_biased(biased, bf16_paper(), options);
    EXPECT_NEAR(moved.unnormalised.mean, 0, 0.015) << line.depth;
    EXPECT_EQ(moved.ones, 0U);
  }
}

// All cases in which some rule is biased, both recipes: ours within 0.02 ulp of O.
TEST(BiasedRounding, StabilisedIsNotBiasedAnywhere) {
  const BiasedOptions options = {.rows = 4096, .features = 8, .seed = 1, .threads = 2};
  const auto mean = [&](const Recipe& recipe, std::size_t repeats, double depth) {
    BiasedCase biased;
    biased.repeats = repeats;
    biased.depth = depth;
    biased.shift.rule = ShiftRule::stabilised;
    const auto found = *measure_biased(biased, recipe, options);
    EXPECT_EQ(found.lost_rows, 0U);
    return found.output.mean;
  };
  EXPECT_LT(std::fabs(mean(bf16_paper(), 2, 18)), 0.02);
  EXPECT_LT(std::fabs(mean(bf16_paper(), 2, 12)), 0.02);
  EXPECT_LT(std::fabs(mean(bf16_paper(), 3, 18)), 0.02);
  EXPECT_LT(std::fabs(mean(bf16_flash(), 2, 18)), 0.02);
  EXPECT_LT(std::fabs(mean(bf16_flash(), 2, 22)), 0.02);
  EXPECT_LT(std::fabs(mean(bf16_flash(), 3, 18)), 0.02);
}

// V of both signs: O cancels, and in ulp of itself its error would be that of the few elements near 0.
TEST(Study, ErrorsAreThoseOfTheSizeBeforeCancellation) {
  auto inputs = *make(Made::normal, 1, 1);
  const auto found = *study(inputs, bf16_flash(), {.threads = 2});
  EXPECT_LT(found.output.spread, 1);
  // Doubling V and its ulp alike changes nothing; making V one-signed leaves O's own ulp.
  for (float& v : inputs.v) v = std::fabs(v) + 1;
  const auto positive = *study(inputs, bf16_flash(), {.threads = 2});
  EXPECT_GT(positive.output.spread, 0.2);
  EXPECT_LT(positive.output.spread, 0.5);
}

TEST(Study, ARowWithoutAFiniteOutputIsLost) {
  auto inputs = *make(Made::normal, 1, 1);
  for (float& v : inputs.v) v *= 1e30F;  // FP16 has no such O, and its row sums are kept
  const auto found = *study(inputs, fp16(), {.threads = 2});
  EXPECT_EQ(found.lost_rows, found.rows);
  EXPECT_EQ(found.output.count, 0U);
}

TEST(Study, GradientsThatAreNotFiniteAreCounted) {
  auto inputs = *make_repeated({.heads = 1, .keys = 64});
  inputs.grad_output[5] = std::nanf("");
  const auto some = *study(inputs, bf16_flash(), {});
  EXPECT_TRUE(some.has_grad_output);
  EXPECT_EQ(some.delta.not_finite, 1U);
  EXPECT_EQ(some.delta.count, 63U);
  EXPECT_TRUE(std::isfinite(some.alignment.sum_share));
  inputs.grad_output.clear();
  EXPECT_FALSE(study(inputs, bf16_flash(), {})->has_grad_output);
}

// Tokens after the first 64 all have one x: of 64 among 256, evenly spaced, 3 in 4.
TEST(Study, CosinesAreOfTokensEvenlySpaced) {
  auto inputs = *make_repeated({.heads = 1, .keys = 64});
  ASSERT_EQ(inputs.shape.queries, 64U);
  inputs.shape.queries = 256;
  const auto repeat = [](std::vector<float>& rows) {
    const std::vector<float> once = rows;
    for (int n = 1; n < 4; ++n) rows.insert(rows.end(), once.begin(), once.end());
  };
  repeat(inputs.q);
  repeat(inputs.grad_output);
  inputs.model_width = 8;
  const Generator generator(3, 1);
  for (std::size_t e = 0; e < 256 * 8; ++e)
    inputs.x.push_back(e < 64 * 8 ? static_cast<float>(generator.normal(e)) : 1.0F);
  const auto found = *study(inputs, bf16_flash(), {});
  // Pairs of the 48 alike are 1, the others near 0.
  EXPECT_NEAR(found.alignment.input_cosine, 48.0 * 47 / (64 * 63), 0.1);
}

// A shift that all rows share biases a fused kernel by a quarter ulp where the standard softmax does
// not.
TEST(BiasedRounding, PublishedRuleBiasesAFusedKernel) {
  BiasedCase biased;
  biased.shift.rule = ShiftRule::published;
  const BiasedOptions options = {.rows = 1024, .features = 16, .threads = 2};
  EXPECT_NEAR(measure_biased(biased, bf16_flash(), options)->output.mean, 0.25, 0.02);
}

TEST(BiasedRounding, RowsCarryTheirNames) {
  const auto rows = *biased_rounding({.rows = 64, .features = 4, .threads = 2});
  std::vector<std::string> names;
  for (const ValueRow& row : rows) names.push_back(row.quantity);
  EXPECT_THAT(names, ::testing::Contains("bf16-paper, k 2, D 18, standard: unnormalised ulp"));
  EXPECT_THAT(names, ::testing::Contains("bf16-flash, k 3, D 18, stabilised: output ulp"));
  EXPECT_THAT(names, ::testing::Contains("bf16-paper, k 2, D 14, published: delta"));
  std::sort(names.begin(), names.end());
  EXPECT_EQ(std::adjacent_find(names.begin(), names.end()), names.end());
}

TEST(Switches, OutcomesAreThePublishedOnes) {
  const auto rows = *measure_switches({.steps = 1, .threads = 2});
  ASSERT_EQ(rows.size(), 2 * switches().size());
  for (const ValueRow& row : rows) {
    if (row.published) {
      EXPECT_EQ(row.ours, *row.published) << row.quantity;
    }
    if (row.quantity == "V0: delta error") {
      EXPECT_GT(row.interval->lower, 0);
    }
    if (row.quantity == "V9 stabilised: fails") {
      EXPECT_EQ(row.ours, 0);
    }
    if (row.quantity == "V8 rounded: fails") {
      EXPECT_EQ(row.ours, 1);
    }
  }
}

}  // namespace
}  // namespace ullage::attention
