// The page's bytes: data as given, text inert, its policy, and sizes that do not fit refused.
#include "ullage/report/page.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <functional>
#include <limits>
#include <nlohmann/json.hpp>

#include "report/page_assets.h"

namespace ullage::report {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

Page small() {
  Page page;
  page.title = "A page";
  page.records = {{"0.0", "first"}, {"0.1", "second"}};
  page.selected = 0;
  HeatMap map;
  map.heading.title = "map";
  map.rows = {"0"};
  map.columns = {"0", "1"};
  map.layers = {{.name = "a", .values = {1.23456789, kInfinity}}};
  map.records = {0, 1};
  page.sections.push_back({map});
  LineChart line;
  line.heading.title = "line";
  line.series = {{.name = "s", .y = {1, 2}}};
  page.sections.push_back({line, Place::left});
  page.sections.push_back({BarChart{.heading = {"bars", {}},
                                    .names = {"n"},
                                    .series = {"s"},
                                    .values = {kNan},
                                    .missing = {{0, "why"}}},
                           Place::right});
  page.sections.push_back({LinkedBars{
      .heading = {"linked", {}}, .names = {"n"}, .values = {1, 2}, .highlights = {0, kNoRecord}}});
  page.sections.push_back(
      {LinkedCurves{.heading = {"curves", {}}, .names = {"c"}, .values = {{1, 2}, {}}}});
  page.sections.push_back({LinkedFacts{}});
  DataTable table;
  table.heading.title = "table";
  table.columns = {{.title = "x", .numbers = {1, 2}},
                   {.title = "t", .texts = {"a", "b"}, .tones = {Tone::good, Tone::bad}}};
  table.records = {1, 0};
  table.sorted = Sorting{.column = 1, .descending = true};
  page.sections.push_back({table});
  page.sections.push_back({Paragraphs{.heading = {"words", {}}, .text = {"one", "two"}}});
  return page;
}

std::string made(const Page& page) {
  const Result<std::string> text = to_html(page);
  EXPECT_TRUE(text.ok());
  return text.ok() ? text.value() : "";
}

nlohmann::json data_of(const std::string& text) {
  const std::string open = "id=\"data\">";
  const std::size_t begin = text.find(open) + open.size();
  return nlohmann::json::parse(text.substr(begin, text.find("</script>", begin) - begin));
}

TEST(Page, DataComesBackAsGiven) {
  const nlohmann::json data = data_of(made(small()));
  EXPECT_EQ(data["records"][1][1], "second");
  EXPECT_EQ(data["selected"], 0);
  ASSERT_EQ(data["sections"].size(), 7u);  // paragraphs are in the document itself
  const auto& map = data["sections"][0];
  EXPECT_EQ(map["kind"], "heat");
  EXPECT_EQ(map["layers"][0]["values"], nlohmann::json({1.23457, "inf"}));
  EXPECT_EQ(map["layers"][0]["missing"], nlohmann::json::parse(R"([["infinite",[1]]])"));
  EXPECT_TRUE(map["threshold"].is_null());
  EXPECT_EQ(data["sections"][2]["values"][0], nullptr);
  EXPECT_EQ(data["sections"][2]["missing"], nlohmann::json::parse(R"([["why",[0]]])"));
  EXPECT_EQ(data["sections"][6]["columns"][1]["tones"], "13");
  EXPECT_EQ(data["sections"][6]["sorted"]["descending"], true);
  EXPECT_EQ(data["sections"][6]["at"], 6);
}

TEST(Page, TheSamePageGivesTheSameBytes) { EXPECT_EQ(made(small()), made(small())); }

TEST(Page, NeighboursLeftAndRightShareColumns) {
  const std::string text = made(small());
  const std::size_t columns = text.find("<div class=\"columns\">");
  ASSERT_NE(columns, std::string::npos);
  EXPECT_LT(columns, text.find("<h2>line</h2>"));
  EXPECT_LT(text.find("<h2>line</h2>"), text.find("<h2>bars</h2>"));
  EXPECT_EQ(text.find("<div class=\"columns\">", columns + 1), std::string::npos);
}

TEST(Page, AllowsItsOwnScriptAndNothingFromOutside) {
  const std::string text = made(small());
  EXPECT_THAT(text, HasSubstr("default-src 'none'; script-src 'sha256-"));
  EXPECT_THAT(text, Not(HasSubstr("unsafe")));
  for (const char* outside : {"http://", "https://", "src=", "@import", "url(h", "url(/"}) {
    std::string rest = text;
    // The name of the SVG namespace is no address.
    if (const std::size_t at = rest.find("http://www.w3.org/2000/svg"); at != std::string::npos)
      rest.erase(at, 26);
    EXPECT_THAT(rest, Not(HasSubstr(outside)));
  }
}

// That they are right the browser proves: it would run nothing else (page_browser_test.py).
TEST(Page, HashesAreFortyFourDigitsOfBase64) {
  const std::string text = made(small());
  for (const char* kind : {"script-src 'sha256-", "style-src 'sha256-"}) {
    const std::size_t begin = text.find(kind) + std::string(kind).size();
    const std::string digest = text.substr(begin, text.find('\'', begin) - begin);
    EXPECT_EQ(digest.size(), 44u);
    EXPECT_EQ(digest.back(), '=');
  }
}

constexpr const char* kHostile =
    "</script><script>alert(1)</script><img src=x onerror=alert(1)>\"' \u2028 \u202e \x1b";

TEST(Page, HostileTextStaysText) {
  Page page = small();
  page.title = page.subtitle = page.footer = kHostile;
  page.cards = {{kHostile, kHostile, kHostile, Tone::bad}};
  page.notes = {{kHostile, Tone::warn}};
  page.records[0] = {kHostile, kHostile};
  auto& map = std::get<HeatMap>(page.sections[0].content);
  map.heading = {kHostile, kHostile};
  map.rows[0] = map.columns[0] = map.row_label = map.layers[0].name = kHostile;
  map.layers[0].missing = {{1, kHostile}};
  std::get<Paragraphs>(page.sections[7].content).text = {kHostile};
  const std::string text = made(page);
  // The data, the page's own script and nothing else.
  std::size_t scripts = 0;
  for (std::size_t at = 0; (at = text.find("<script", at)) != std::string::npos; ++at) ++scripts;
  EXPECT_EQ(scripts, 2u);
  EXPECT_THAT(text, Not(HasSubstr("<img")));
  EXPECT_THAT(text, Not(HasSubstr("\u2028")));
  EXPECT_THAT(text, Not(HasSubstr("\u202e")));
  EXPECT_THAT(text, HasSubstr("&lt;/script&gt;"));
  EXPECT_THAT(data_of(text)["records"][0][1].get<std::string>(), HasSubstr("</script><script>"));
}

TEST(Page, MissingSizesAreErrorsThatNameTheSection) {
  struct Case {
    const char* where;
    std::function<void(Page&)> spoil;
  };
  const Case cases[] = {
      {"map",
       [](Page& p) { std::get<HeatMap>(p.sections[0].content).layers[0].values.pop_back(); }},
      {"map", [](Page& p) { std::get<HeatMap>(p.sections[0].content).layers.clear(); }},
      {"map", [](Page& p) { std::get<HeatMap>(p.sections[0].content).records = {0}; }},
      {"map", [](Page& p) { std::get<HeatMap>(p.sections[0].content).records = {0, 2}; }},
      {"map",
       [](Page& p) { std::get<HeatMap>(p.sections[0].content).layers[0].missing = {{2, "x"}}; }},
      {"line", [](Page& p) { std::get<LineChart>(p.sections[1].content).x = {1}; }},
      {"line", [](Page& p) { std::get<LineChart>(p.sections[1].content).series[0].x = {1}; }},
      {"line",
       [](Page& p) { std::get<LineChart>(p.sections[1].content).series[0].records = {-2, 0}; }},
      {"bars", [](Page& p) { std::get<BarChart>(p.sections[2].content).names.clear(); }},
      {"linked", [](Page& p) { std::get<LinkedBars>(p.sections[3].content).values.pop_back(); }},
      {"linked", [](Page& p) { std::get<LinkedBars>(p.sections[3].content).highlights = {0, 1}; }},
      {"curves", [](Page& p) { std::get<LinkedCurves>(p.sections[4].content).values.pop_back(); }},
      {"curves", [](Page& p) { std::get<LinkedCurves>(p.sections[4].content).x = {1}; }},
      {"table",
       [](Page& p) { std::get<DataTable>(p.sections[6].content).columns[0].numbers.pop_back(); }},
      {"table",
       [](Page& p) { std::get<DataTable>(p.sections[6].content).columns[1].numbers = {1, 2}; }},
      {"table",
       [](Page& p) { std::get<DataTable>(p.sections[6].content).columns[1].tones.pop_back(); }},
      {"table", [](Page& p) { std::get<DataTable>(p.sections[6].content).columns.clear(); }},
      {"table", [](Page& p) { std::get<DataTable>(p.sections[6].content).sorted->column = 2; }},
      {"A page", [](Page& p) { p.records[1].key = "0.0"; }},
      {"A page", [](Page& p) { p.selected = 2; }},
  };
  for (const Case& one : cases) {
    Page page = small();
    one.spoil(page);
    const Result<std::string> text = to_html(page);
    ASSERT_FALSE(text.ok());
    EXPECT_EQ(text.error().code, Code::value_invalid);
    EXPECT_EQ(text.error().where, one.where);
  }
}

TEST(Page, AnEmptyPageIsAPage) { EXPECT_THAT(made({}), HasSubstr("<main>")); }

TEST(Page, StyleAndScriptAreSmall) {
  EXPECT_LT(kPageScript.size() + kPageStyle.size() + kPageIcons.size(), 120'000u);
}

TEST(ThinIndices, KeepsAllWhereTheyAreFew) {
  EXPECT_THAT(thin_indices(3, 5), testing::ElementsAre(0, 1, 2));
  EXPECT_TRUE(thin_indices(0, 5).empty());
  EXPECT_TRUE(thin_indices(5, 0).empty());
  EXPECT_THAT(thin_indices(5, 1), testing::ElementsAre(0));
  EXPECT_THAT(thin_indices(100, 2), testing::ElementsAre(0, 99));
}

RC_GTEST_PROP(ThinIndices, AreAsManyAsAskedAscendingFromFirstToLast, ()) {
  const auto count = *rc::gen::inRange<std::size_t>(2, 5000);
  const auto most = *rc::gen::inRange<std::size_t>(2, 200);
  const std::vector<std::size_t> kept = thin_indices(count, most);
  RC_ASSERT(kept.size() == std::min(count, most));
  RC_ASSERT(kept.front() == 0u);
  RC_ASSERT(kept.back() == count - 1);
  for (std::size_t i = 1; i < kept.size(); ++i) RC_ASSERT(kept[i] > kept[i - 1]);
}

}  // namespace
}  // namespace ullage::report
