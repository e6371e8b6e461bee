// Names of recipes and quantities, and the rounders that recipes are carried out by.
#include "ullage/attention/recipe.h"

#include <gtest/gtest.h>

#include <cmath>

#include "attention/rounder.h"

namespace ullage::attention {
namespace {

TEST(Recipe, NamesRoundTrip) {
  const auto names = recipe_names();
  EXPECT_EQ(names.size(), 7U);
  for (const auto& name : names) {
    const auto recipe = find_recipe(name);
    ASSERT_TRUE(recipe.ok());
    EXPECT_EQ(recipe->name, name);
    EXPECT_FALSE(recipe->source.empty());
  }
  EXPECT_EQ(find_recipe("bf17").error().code, Code::usage);
}

// The BF16 shortcut against the definition, over all upper halves and the ends of the lower one.
TEST(Rounder, Bf16IsTheDefinition) {
  Store store;
  store.format = formats::kBf16;
  Rounder<float> round(store, 0, 0);
  for (std::uint32_t high = 0; high < 65536; ++high) {
    for (const std::uint32_t low : {0U, 1U, 0x7FFFU, 0x8000U, 0x8001U, 0xFFFFU}) {
      const auto x = std::bit_cast<float>(high << 16 | low);
      const double expected = formats::round_to(formats::kBf16, static_cast<double>(x),
                                                {.overflow = formats::Overflow::non_saturating});
      const float got = round(x);
      if (std::isnan(expected)) {
        EXPECT_TRUE(std::isnan(got));
      } else {
        EXPECT_EQ(std::bit_cast<std::uint32_t>(got),
                  std::bit_cast<std::uint32_t>(static_cast<float>(expected)));
      }
    }
  }
}

TEST(Rounder, StochasticDrawsAreFreshAndReproducible) {
  Store store;
  store.format = formats::kBf16;
  store.rounding = formats::Rounding::stochastic;
  const auto draw = [&](std::uint64_t first) {
    Rounder<float> round(store, 3, first);
    std::vector<float> values(4096, 1.0F + 0x1p-9F);  // a quarter of the way to the next
    round(values);
    return values;
  };
  EXPECT_EQ(draw(0), draw(0));
  EXPECT_NE(draw(0), draw(1 << 20));
  double mean = 0;
  for (const float x : draw(0)) mean += static_cast<double>(x) - 1;
  EXPECT_NEAR(mean / 4096, 0x1p-9, 5 * 0x1p-7 * std::sqrt(0.25 * 0.75 / 4096));
}

}  // namespace
}  // namespace ullage::attention
