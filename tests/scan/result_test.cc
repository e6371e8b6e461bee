// Figures of a result: what counts as known, their names, headroom, and the JSON.
#include "ullage/scan/result.h"

#include <gmock/gmock.h>

#include <cmath>
#include <limits>

namespace ullage::scan {
namespace {

using testing::HasSubstr;

TEST(Figure, OnlyFiniteNumbersAreKnown) {
  EXPECT_TRUE(Figure(2.5).known());
  EXPECT_EQ(Figure(2.5).value(), 2.5);
  EXPECT_FALSE(Figure(NAN).known());
  EXPECT_FALSE(Figure(std::numeric_limits<double>::infinity()).known());
  EXPECT_FALSE(Figure().known());
  EXPECT_EQ(Figure::none("a reason").why(), "a reason");
  EXPECT_FALSE(Figure(NAN).why().empty());
}

HeadResult head_with(double expected, double certificate) {
  HeadResult head;
  head.bounds.expected_before_cap = expected;
  head.bounds.before_cap = certificate;
  return head;
}

TEST(HeadroomBits, CountsDoublingsToTheFormatsMaximum) {
  EXPECT_EQ(headroom_bits(head_with(56, 112), 448).value(), 3);
  EXPECT_EQ(headroom_bits(head_with(896, 1000), 448).value(), -1);
  EXPECT_LT(headroom_bits(head_with(1e-300, 1e-299), 65504).value(), 1100);
}

TEST(HeadroomBits, FallsBackToTheCertificate) {
  HeadResult head = head_with(NAN, 112);
  EXPECT_EQ(headroom_bits(head, 448).value(), 2);
}

TEST(HeadroomBits, OfNothingIsNotANumber) {
  EXPECT_EQ(headroom_bits(head_with(0, 0), 448).why(), "all weights zero");
  HeadResult head;
  head.bounds.before_cap = Figure::none("no norm");
  EXPECT_EQ(headroom_bits(head, 448).why(), "no norm");
}

TEST(LacksHeadroom, BelowTheThresholdOrNothingIsKnown) {
  EXPECT_TRUE(lacks_headroom(head_with(112, 1000), 448, 2.5));
  EXPECT_FALSE(lacks_headroom(head_with(112, 1000), 448, 2));
  HeadResult head = head_with(1, 1);
  head.finite = false;
  EXPECT_TRUE(lacks_headroom(head, 448, -100));
}

TEST(LacksHeadroom, WithoutAFigureTheCertificateDecides) {
  EXPECT_FALSE(lacks_headroom(head_with(0, 0), 448, 1));
  EXPECT_FALSE(lacks_headroom(head_with(0, 448), 448, 1));
  EXPECT_TRUE(lacks_headroom(head_with(0, 449), 448, 1));
  EXPECT_EQ(headroom_bits(head_with(0, 449), 448).why(), "the expected logit is zero");
}

TEST(Figures, HaveUniqueNamesAndRopeOnlyWhereThereIsOne) {
  HeadResult head;
  const std::size_t without = figures_of(head).size();
  head.rope.emplace();
  const std::vector<NamedFigure> figures = figures_of(head);
  for (const NamedFigure& figure : figures) EXPECT_STRNE(figure.about, "") << figure.name;
  EXPECT_EQ(figures.size(), without + 2);
  for (std::size_t i = 0; i < figures.size(); ++i)
    for (std::size_t j = 0; j < i; ++j) EXPECT_NE(figures[i].name, figures[j].name);
}

TEST(Json, EscapesNamesAndSaysWhy) {
  ScanResult result;
  result.checkpoint = "a\"\x1b</script>";
  LayerResult layer;
  layer.name = "l\n";
  layer.heads.emplace_back();
  layer.heads[0].sigma = Figure::none("weights are not finite");
  result.layers.push_back(layer);
  const std::string json = to_json(result);
  EXPECT_EQ(json.find('\x1b'), std::string::npos);
  EXPECT_THAT(json, HasSubstr("\\u001b"));
  EXPECT_THAT(json, HasSubstr("\"l\\n\""));
  EXPECT_THAT(json, HasSubstr("\"sigma\": \"weights are not finite\""));
}

}  // namespace
}  // namespace ullage::scan
