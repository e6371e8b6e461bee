#include "ullage/scan/diff.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

namespace ullage::scan {
namespace {

using testing::HasSubstr;

HeadResult head(double certificate, double amax) {
  HeadResult out;
  out.bounds.before_cap = certificate;
  out.amax_query = out.amax_key = out.amax_value = amax;
  return out;
}

ScanResult scanned(std::vector<HeadResult> heads) {
  ScanResult result;
  result.format = "e4m3";
  LayerResult layer;
  layer.name = "layers.0";
  layer.heads = std::move(heads);
  result.layers.push_back(layer);
  return result;
}

const StaleScale& stale_of(const Comparison& found, const std::string& tensor) {
  for (const StaleScale& stale : found.stale)
    if (stale.tensor == tensor) return stale;
  static const StaleScale kNone;
  ADD_FAILURE() << tensor;
  return kNone;
}

TEST(Compare, BitsAreOfOneTierOnBothSides) {
  ScanResult before = scanned({head(8, 1), head(8, 1)});
  ScanResult after = scanned({head(32, 1), head(32, 1)});
  before.layers[0].heads[0].bounds.expected_before_cap = 2;
  before.layers[0].heads[1].bounds.expected_before_cap = 2;
  after.layers[0].heads[1].bounds.expected_before_cap = 4;
  const Comparison found = compare(before, after);
  ASSERT_EQ(found.moved.size(), 2U);
  EXPECT_EQ(found.moved[0].tier, Tier::certificate);
  EXPECT_DOUBLE_EQ(found.moved[0].bits_after - found.moved[0].bits_before, -2);
  EXPECT_EQ(found.moved[1].tier, Tier::expected);
  EXPECT_DOUBLE_EQ(found.moved[1].bits_after - found.moved[1].bits_before, -1);
}

TEST(Compare, WhatIsNotComparedIsNamed) {
  ScanResult before = scanned({head(8, 1), head(8, 1), head(0, 1)});
  ScanResult after = scanned({head(8, 1), head(8, 1), head(8, 1)});
  after.layers[0].heads[0].finite = false;
  LayerResult other = before.layers[0];
  other.name = "gone";
  before.layers.push_back(other);
  other.name = "new";
  after.layers.push_back(other);
  other.name = "grown";
  before.layers.push_back(other);
  other.heads.push_back(other.heads[0]);
  after.layers.push_back(other);
  const Comparison found = compare(before, after);
  EXPECT_EQ(found.layers, 1U);
  EXPECT_EQ(found.moved.size(), 1U);
  std::string all;
  for (const LeftOut& left : found.left_out) all += left.layer + ": " + left.why + "\n";
  EXPECT_THAT(all, HasSubstr("gone: only the first"));
  EXPECT_THAT(all, HasSubstr("new: only the second"));
  EXPECT_THAT(all, HasSubstr("grown: 3 heads, then 4"));
  EXPECT_THAT(all, HasSubstr("1 head, in the second: weights are not finite"));
  EXPECT_THAT(all, HasSubstr("1 head, in the first: all weights zero"));
}

TEST(Compare, AStaleScaleSaturatesOnlyBeyondWhatRoundsToTheLargest) {
  // E4M3 rounds 464 = 448 x 1.0357 to 448, and what is above to nothing that it has.
  for (const auto& [growth, saturates] :
       {std::pair(0.5, false), std::pair(1.0001, false), std::pair(464.0 / 448.0, false),
        std::pair(1.04, true), std::pair(3.0, true)}) {
    const ScanResult before = scanned({head(8, 2)}), after = scanned({head(8, 2 * growth)});
    const Comparison found = compare(before, after);
    ASSERT_EQ(found.stale.size(), 4U);
    for (const StaleScale& stale : found.stale) {
      EXPECT_DOUBLE_EQ(stale.multiplier, 224);
      EXPECT_DOUBLE_EQ(stale.reached, growth);
      EXPECT_EQ(stale.saturates, saturates) << growth;
    }
  }
}

TEST(Compare, OneScaleForAllThreeIsThatOfTheLargest) {
  ScanResult before = scanned({head(8, 4)}), after = scanned({head(8, 4)});
  before.layers[0].heads[0].amax_value = 1;
  after.layers[0].heads[0].amax_value = 3;
  const Comparison found = compare(before, after);
  EXPECT_TRUE(stale_of(found, "v").saturates);
  EXPECT_FALSE(stale_of(found, "q k v").saturates);
}

// Nothing was recorded for a tensor that was all zero: its scale is still 1.
TEST(Compare, AZeroTensorLeavesTheFirstScale) {
  const ScanResult before = scanned({head(0, 0)}), after = scanned({head(8, 6880)});
  const Comparison found = compare(before, after);
  EXPECT_DOUBLE_EQ(stale_of(found, "q").multiplier, 1);
  EXPECT_DOUBLE_EQ(stale_of(found, "q").reached, 6880 / 448.0);
  EXPECT_TRUE(stale_of(found, "q").saturates);
}

TEST(Compare, OnlyFormatsOfDelayedScalingHaveStaleScales) {
  ScanResult before = scanned({head(8, 1)}), after = scanned({head(8, 9)});
  before.format = after.format = "fp16";
  EXPECT_TRUE(compare(before, after).stale.empty());
}

}  // namespace
}  // namespace ullage::scan
