// The published bounds give the published figures.
#include "ullage/bounds/published.h"

#include <gtest/gtest.h>

#include <cmath>

namespace ullage::bounds {
namespace {

// [R] reports 8x to 28x for GPT-2 XL, Mistral-7B, Llama-2-13B and Llama-2-70B.
TEST(Published, ExponentRatios) {
  EXPECT_NEAR(exponent_ratio(1600, 64, 30), 8.2, 0.05);
  EXPECT_NEAR(exponent_ratio(4096, 128, 30), 13.9, 0.05);
  EXPECT_NEAR(exponent_ratio(5120, 128, 30), 17.4, 0.05);
  EXPECT_NEAR(exponent_ratio(8192, 128, 30), 27.8, 0.05);
}

TEST(Published, GammaSolvesItsEquation) {
  for (const double rank : {1.0, 8.0, 64.0, 128.0, 1e6}) {
    for (const double log_count : {1e-6, 0.1, 1.0, 30.0, 700.0}) {
      const double gamma = rank_gamma(rank, log_count);
      EXPECT_GE(gamma, 1.0);
      EXPECT_NEAR(0.5 * rank * (gamma - 1.0 - std::log(gamma)), log_count,
                  1e-9 * log_count + 1e-9 * rank);
    }
  }
  EXPECT_EQ(rank_gamma(8.0, 0.0), 1.0);
}

TEST(Published, GrowsWithTokensAndCertainty) {
  const PublishedModel base{4096, 128, 2048, 1e-6};
  PublishedModel more = base;
  more.context = 4096;
  PublishedModel surer = base;
  surer.probability = 1e-9;
  EXPECT_GT(rank_aware(more, 0.1, 2.0), rank_aware(base, 0.1, 2.0));
  EXPECT_GT(rank_aware(surer, 0.1, 2.0), rank_aware(base, 0.1, 2.0));
  EXPECT_GT(rank_agnostic(more, 0.1, 2.0), rank_agnostic(base, 0.1, 2.0));
  EXPECT_GT(rank_agnostic(surer, 0.1, 2.0), rank_agnostic(base, 0.1, 2.0));
  EXPECT_LT(rank_aware(base, 0.1, 2.0), rank_agnostic(base, 0.1, 2.0));
  EXPECT_DOUBLE_EQ(rank_aware(base, 0.2, 2.0), 2.0 * rank_aware(base, 0.1, 2.0));
}

}  // namespace
}  // namespace ullage::bounds
