// JSON read back by another parser, with reasons for what is no number.
#include "ullage/report/json.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <limits>
#include <nlohmann/json.hpp>

namespace ullage::report {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

TEST(Json, LaysOutMembersAndLines) {
  JsonWriter json;
  json.begin_object();
  json.key("schema").integer(1);
  json.key("list").begin_array(JsonLayout::line).integer(1).integer(2);
  json.begin_object().key("x").number(0.5).end().end();
  json.key("rows").begin_array();
  json.begin_object(JsonLayout::line).key("a").boolean(true).key("b").null().end();
  json.begin_object().end();
  json.end();
  json.key("none").begin_array().end();
  json.end();
  EXPECT_EQ(json.take(), R"({
  "schema": 1,
  "list": [1, 2, {"x": 0.5}],
  "rows": [
    {"a": true, "b": null},
    {}
  ],
  "none": []
}
)");
}

TEST(Json, CompactHasNoBlanks) {
  JsonWriter json({.indent = 0});
  json.begin_object()
      .key("a")
      .begin_array()
      .natural(~0ull)
      .text("x y")
      .end()
      .key("b")
      .integer(-1)
      .end();
  EXPECT_EQ(json.take(), "{\"a\":[18446744073709551615,\"x y\"],\"b\":-1}\n");
}

TEST(Json, NumbersAreTheShortestThatReadBack) {
  JsonWriter json({.indent = 0});
  json.begin_array().number(0.1).number(0.1f).number(1e22).number(3.0).number(5e-324).end();
  EXPECT_EQ(json.take(), "[0.1,0.1,1e+22,3,5e-324]\n");
}

TEST(Json, WhyStandsInTheObjectOfTheNull) {
  JsonWriter json({.indent = 0});
  json.begin_object();
  json.key("sigma").number(kInfinity, "weights are not finite");
  json.key("inner")
      .begin_object()
      .key("x")
      .null("not computed")
      .key("y")
      .number(1.0, "unused")
      .end();
  json.key("list")
      .begin_array()
      .number(1.0)
      .number(-kInfinity, "first")
      .number(kInfinity, "second")
      .end();
  json.key("silent").number(std::numeric_limits<float>::quiet_NaN());
  json.end();
  EXPECT_EQ(json.take(),
            "{\"sigma\":null,\"inner\":{\"x\":null,\"y\":1,\"why\":{\"x\":\"not "
            "computed\"}},\"list\":[1,null,null],"
            "\"silent\":null,\"why\":{\"sigma\":\"weights are not finite\",\"list\":\"first\"}}\n");
}

TEST(Json, EscapesWhatCouldSteerATerminalOrAScript) {
  JsonWriter json({.indent = 0});
  json.text("\"\\\b\f\n\r\t\x01\x1b\x7f\u0085\u2028\u202e\U000E0001/<&>\u00e9\xff");
  EXPECT_EQ(json.take(),
            "\"\\\"\\\\\\b\\f\\n\\r\\t\\u0001\\u001b\\u007f\\u0085\\u2028\\u202e\\udb40\\udc01/"
            "<&>\u00e9\\ufffd\"");
  JsonWriter html({.indent = 0, .html = true});
  html.text("</script><!--&amp;'");
  EXPECT_EQ(html.take(), "\"\\u003c/script\\u003e\\u003c!--\\u0026amp;\\u0027\"");
}

TEST(Json, StreamsPieceByPiece) {
  JsonWriter json;
  json.begin_array(JsonLayout::line).integer(1);
  std::string text = json.take();
  json.integer(2).end();
  text += json.take();
  EXPECT_EQ(text, "[1, 2]\n");
}

RC_GTEST_PROP(Json, AnotherParserReadsWhatWasWritten,
              (const std::vector<std::pair<std::string, double>>& members)) {
  JsonWriter json({.indent = *rc::gen::inRange(0, 3), .html = *rc::gen::arbitrary<bool>()});
  json.begin_array();
  for (const auto& [name, value] : members) json.text(name).number(value);
  json.end();
  const auto read = nlohmann::json::parse(json.take());
  RC_ASSERT(read.size() == 2 * members.size());
  for (std::size_t i = 0; i < members.size(); ++i) {
    RC_ASSERT(read[2 * i + 1].get<double>() == members[i].second);
    // rapidcheck's strings may be broken UTF-8, which becomes U+FFFD: compare where they are ASCII.
    const bool ascii = members[i].first.find_first_of("\x80\xff") == std::string::npos &&
                       std::all_of(members[i].first.begin(), members[i].first.end(),
                                   [](char c) { return c >= 0; });
    if (ascii) RC_ASSERT(read[2 * i].get<std::string>() == members[i].first);
  }
}

TEST(Json, ValidUtf8ComesBackTheSame) {
  const std::string text = "caf\u00e9 \u5c42 \U0001F600 \u2028 \u202e </script> \u0001";
  JsonWriter json({.html = true});
  json.text(text);
  EXPECT_EQ(nlohmann::json::parse(json.take()).get<std::string>(), text);
}

}  // namespace
}  // namespace ullage::report
