// What check() refuses of a problem, and which keys a query sees, by the definition.
#include "ullage/attention/problem.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <limits>
#include <vector>

#include "tensors.h"

namespace ullage::attention::testing {
namespace {

Error error_of(const Inputs<float>& inputs) {
  const Status status = check(inputs);
  EXPECT_FALSE(status.ok());
  return status.ok() ? Error{} : status.error();
}

TEST(Problem, EachBrokenRuleIsNamed) {
  const auto t = random_tensors<float>({2, 4, 2, 3, 5, 8, 8}, 1);
  const auto good = t.inputs();
  EXPECT_TRUE(check(good).ok());
  const auto broken = [&](auto change) {
    Inputs<float> in = good;
    change(in);
    const Error error = error_of(in);
    EXPECT_EQ(error.code, Code::value_invalid);
    return error.where;
  };
  EXPECT_EQ(broken([](auto& in) { in.shape.kv_heads = 3; }), "shape");
  EXPECT_EQ(broken([](auto& in) { in.shape.batch = 0; }), "shape");
  EXPECT_EQ(broken([](auto& in) { in.shape.width = 257; }), "shape");
  EXPECT_EQ(broken([](auto& in) { in.shape.value_width = 0; }), "shape");
  EXPECT_EQ(broken([](auto& in) { in.k = {}; }), "q, k, v");
  EXPECT_EQ(broken([](auto& in) { in.scale = std::numeric_limits<double>::infinity(); }), "scale");
  EXPECT_EQ(broken([](auto& in) { in.soft_cap = -1; }), "soft_cap");
  EXPECT_EQ(broken([](auto& in) { in.soft_cap = 1e39; }), "soft_cap");
  EXPECT_EQ(broken([](auto& in) { in.soft_cap = 1e-46; }), "soft_cap");
  const std::vector<std::uint8_t> padding(9);
  EXPECT_EQ(broken([&](auto& in) { in.mask.padding = padding; }), "padding");
  const std::vector<float> three = {1, 1, 1};
  EXPECT_EQ(broken([&](auto& in) { in.sinks = three; }), "sinks");
  EXPECT_EQ(broken([&](auto& in) { in.descales.q = three; }), "descales.q");
  const std::vector<float> zero = {1, 0, 1, 1};
  EXPECT_EQ(broken([&](auto& in) { in.descales.v = zero; }), "descales.v");
  const std::vector<std::size_t> short_starts = {0, 3};
  const std::vector<std::size_t> falling = {0, 4, 3};
  const std::vector<std::size_t> keys = {0, 2, 5};
  EXPECT_EQ(broken([&](auto& in) { in.packed = {short_starts, keys}; }), "query_starts");
  EXPECT_EQ(broken([&](auto& in) { in.packed = {falling, keys}; }), "query_starts");
  const std::vector<std::size_t> queries = {0, 1, 3};
  const std::vector<std::uint8_t> all(10, 1);
  EXPECT_EQ(broken([&](auto& in) {
              in.packed = {queries, keys};
              in.mask.padding = all;
            }),
            "padding");
}

TEST(Problem, VisibleKeysAreWhatTheDefinitionSays) {
  EXPECT_TRUE(rc::check("any window", [] {
    Mask mask;
    const auto size = [](int high) { return static_cast<std::size_t>(*rc::gen::inRange(0, high)); };
    if (*rc::gen::arbitrary<bool>()) mask.left = size(12);
    if (*rc::gen::arbitrary<bool>()) mask.right = size(12);
    if (*rc::gen::arbitrary<bool>()) mask.alignment = Alignment::top_left;
    if (*rc::gen::inRange(0, 8) == 0) mask.left = std::numeric_limits<std::size_t>::max();
    const Sequence sequence = {0, 0, 0, 0, size(10) + 1, size(10)};
    for (std::size_t i = 0; i < sequence.queries; ++i) {
      const KeyRange range = visible_keys(mask, sequence, i);
      for (std::size_t j = 0; j < sequence.keys; ++j) {
        auto diagonal = static_cast<double>(i);
        if (mask.alignment == Alignment::bottom_right)
          diagonal += static_cast<double>(sequence.keys) - static_cast<double>(sequence.queries);
        const double ahead = static_cast<double>(j) - diagonal;
        const bool seen = (!mask.left || -ahead <= static_cast<double>(*mask.left)) &&
                          (!mask.right || ahead <= static_cast<double>(*mask.right));
        RC_ASSERT(seen == (j >= range.begin && j < range.end));
      }
    }
  }));
}

TEST(Problem, WindowCountsTheQueryItself) {
  const Sequence sequence = {0, 0, 0, 0, 8, 8};
  const KeyRange range = visible_keys(sliding_window(3), sequence, 5);
  EXPECT_EQ(range.begin, 3U);
  EXPECT_EQ(range.end, 6U);
}

TEST(Problem, ScaleDefaultsToTheWidth) {
  Inputs<float> inputs;
  inputs.shape.width = 64;
  EXPECT_EQ(inputs.score_scale(), 0.125);
  inputs.scale = 0.3;
  EXPECT_EQ(inputs.score_scale(), 0.3);
}

}  // namespace
}  // namespace ullage::attention::testing
