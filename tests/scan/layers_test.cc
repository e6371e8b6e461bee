// What --layers takes and what it refuses.
#include <gtest/gtest.h>

#include "ullage/scan/scan.h"

namespace ullage::scan {
namespace {

struct Case {
  const char* text;
  std::vector<int> taken;  // of layers 0 to 5, named "model.layers.N.self_attn"
};

class ParseLayers : public testing::TestWithParam<Case> {};

TEST_P(ParseLayers, TakesWhatItSays) {
  const Result<LayerFilter> filter = parse_layers(GetParam().text);
  ASSERT_TRUE(filter.ok()) << filter.error().message();
  std::vector<int> taken;
  for (int layer = 0; layer < 6; ++layer)
    if (filter->takes(layer, "model.layers." + std::to_string(layer) + ".self_attn"))
      taken.push_back(layer);
  EXPECT_EQ(taken, GetParam().taken);
}

INSTANTIATE_TEST_SUITE_P(All, ParseLayers,
                         testing::Values(Case{"", {0, 1, 2, 3, 4, 5}}, Case{"3", {3}},
                                         Case{"2:4", {2, 3, 4}}, Case{"4:", {4, 5}},
                                         Case{":1", {0, 1}}, Case{R"(layers\.[15]\.)", {1, 5}},
                                         Case{"vision", {}}));

TEST(ParseLayersErrors, SayTheArgument) {
  for (const char* text :
       {"4:2", "(", "[", "1:2:3", "99999999999999:3", "a{2}", "(?=a)b", R"((a)\1)"}) {
    const Result<LayerFilter> filter = parse_layers(text);
    ASSERT_FALSE(filter.ok()) << text;
    EXPECT_EQ(filter.error().code, Code::usage);
    EXPECT_EQ(filter.error().where, "--layers");
  }
}

TEST(LayerFilter, LongNamesAreCutBeforeTheyAreMatched) {
  const Result<LayerFilter> filter = parse_layers("(a|b)*c");
  ASSERT_TRUE(filter.ok());
  EXPECT_FALSE(filter->takes(0, std::string(1'000'000, 'a')));
}

// A search that backtracks would not end, and compiling so many groups would exhaust the stack.
TEST(LayerFilter, NoPatternTakesForEver) {
  const std::string name = "model.layers.0." + std::string(300, 'a');
  for (const char* text : {"(.*)*x", "((a*)*)*b", "(a|aa)+$x", ".*.*.*.*.*.*.*.*.*.*.*.*.*x"}) {
    const Result<LayerFilter> filter = parse_layers(text);
    ASSERT_TRUE(filter.ok()) << text;
    EXPECT_FALSE(filter->takes(0, name)) << text;
  }
  const Result<LayerFilter> deep =
      parse_layers(std::string(20'000, '(') + "a" + std::string(20'000, ')'));
  ASSERT_FALSE(deep.ok());
  EXPECT_EQ(deep.error().code, Code::usage);
}

}  // namespace
}  // namespace ullage::scan
