// The strict reader, rule by rule and against another parser over damaged texts.
#include "checkpoint/json.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

namespace ullage::checkpoint {
namespace {

// The reader's problem with a text, "" when it takes it.
std::string problem_of(std::string text, NonFinite non_finite = NonFinite::refuse) {
  JsonReader reader(text, non_finite);
  for (;;) {
    const Token token = reader.next();
    if (token == Token::end) return "";
    if (token == Token::error) return reader.problem();
  }
}

// The one string in a text that is one string.
std::string decoded(std::string text) {
  JsonReader reader(text);
  EXPECT_EQ(reader.next(), Token::string) << text;
  return std::string(reader.string());
}

TEST(JsonReader, GivesTheTokensInOrder) {
  std::string text = R"( {"a": [1, -2, 2.5, true, false, null, "x"], "b": {}} )";
  JsonReader reader(text);
  const std::vector<Token> expected = {Token::object_begin,
                                       Token::key,
                                       Token::array_begin,
                                       Token::unsigned_integer,
                                       Token::negative_integer,
                                       Token::real,
                                       Token::boolean_true,
                                       Token::boolean_false,
                                       Token::null,
                                       Token::string,
                                       Token::array_end,
                                       Token::key,
                                       Token::object_begin,
                                       Token::object_end,
                                       Token::object_end,
                                       Token::end,
                                       Token::end};
  for (const Token token : expected) EXPECT_EQ(reader.next(), token);
}

TEST(JsonReader, DecodesEscapesInPlace) {
  EXPECT_EQ(decoded(R"("plain text longer than a word")"), "plain text longer than a word");
  EXPECT_EQ(decoded(R"("\"\\\/\b\f\n\r\t")"), "\"\\/\b\f\n\r\t");
  EXPECT_EQ(decoded(R"("a\u007ab")"), "azb");
  EXPECT_EQ(decoded(R"("\u00e9\u20AC\ud83e\uddea tail of the string")"),
            "\xC3\xA9\xE2\x82\xAC\xF0\x9F\xA7\xAA tail of the string");
  EXPECT_EQ(decoded(R"("\u0000")"), std::string(1, '\0'));
  EXPECT_EQ(decoded("\"\xC3\xA9\xF4\x8F\xBF\xBF\""), "\xC3\xA9\xF4\x8F\xBF\xBF");
}

TEST(JsonReader, RefusesWhatTheStandardDoes) {
  const std::vector<std::string> broken = {"",
                                           " ",
                                           "{",
                                           "[",
                                           "}",
                                           "]",
                                           "[1",
                                           "[1,",
                                           "[1,]",
                                           "[,1]",
                                           "[1 2]",
                                           "{\"a\"}",
                                           "{\"a\":}",
                                           "{\"a\":1,}",
                                           "{a:1}",
                                           "{'a':1}",
                                           "{\"a\":1 \"b\":2}",
                                           "[1}",
                                           "{\"a\":1]",
                                           "nul",
                                           "nulll x",
                                           "True",
                                           "NaN",
                                           "Infinity",
                                           "-Infinity",
                                           "01",
                                           "-01",
                                           "+1",
                                           "1.",
                                           ".5",
                                           "1e",
                                           "1e+",
                                           "-",
                                           "0x10",
                                           "\"",
                                           "\"\\x\"",
                                           "\"\\u12\"",
                                           "\"\\u12g4\"",
                                           "\"\\ud800\"",
                                           "\"\\udc00\"",
                                           "\"\\ud800\\u0041\"",
                                           "\"a\nb\"",
                                           "\"\x01\"",
                                           "\"\xFF\"",
                                           "\"\xC0\xAF\"",
                                           "\"\xED\xA0\x80\"",
                                           "\"\xF4\x90\x80\x80\"",
                                           "\"\xE2\x82\"",
                                           "\xEF\xBB\xBF{}",
                                           "{} {}",
                                           "1 2",
                                           "/* */ 1",
                                           "[1] //",
                                           std::string("{}\0", 3)};
  for (const std::string& text : broken) EXPECT_NE(problem_of(text), "") << text;
}

TEST(JsonReader, SaysWhereItStopped) {
  std::string text = "[1, 2, x]";
  JsonReader reader(text);
  while (reader.next() != Token::error) {
  }
  EXPECT_EQ(reader.position(), 7U);
  EXPECT_EQ(reader.next(), Token::error);
  EXPECT_EQ(json_error(reader, Code::header_invalid, "f").message(),
            "f: not valid JSON at byte 7: a value was expected");
}

TEST(JsonReader, TakesSixtyFourLevels) {
  const auto nested = [](std::size_t levels) {
    return std::string(levels, '[') + std::string(levels, ']');
  };
  EXPECT_EQ(problem_of(nested(kMaxDepth)), "");
  EXPECT_NE(problem_of(nested(kMaxDepth + 1)), "");
  EXPECT_NE(problem_of(std::string(2'000'000, '[')), "");
  std::string objects, ends;
  for (int i = 0; i < 32; ++i) objects += "[{\"a\":", ends = "}]" + ends;
  EXPECT_EQ(problem_of(objects + "1" + ends), "");
}

struct NumberCase {
  const char* text;
  Token token;
  std::uint64_t integer;
  double real;
};

TEST(JsonReader, TellsIntegersFromTheRest) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  const std::vector<NumberCase> cases = {
      {"0", Token::unsigned_integer, 0, 0},
      {"18446744073709551615", Token::unsigned_integer, 18446744073709551615U, 0},
      {"18446744073709551616", Token::real, 0, 18446744073709551616.0},
      {"-0", Token::negative_integer, 0, 0},
      {"-9223372036854775808", Token::negative_integer, std::uint64_t{1} << 63, 0},
      {"-9223372036854775809", Token::real, 0, -9223372036854775808.0},
      {"1.0", Token::real, 0, 1},
      {"3e1", Token::real, 0, 30},
      {"-2.5E-1", Token::real, 0, -0.25},
      {"1e999999999999999999999", Token::real, 0, kInfinity},
      {"-1e400", Token::real, 0, -kInfinity},
      {"1e-400", Token::real, 0, 0},
      {"0.00001e-400", Token::real, 0, 0},
      {"0.0000e999999", Token::real, 0, 0},
      {"123456e-999999999", Token::real, 0, 0},
  };
  for (const NumberCase& c : cases) {
    std::string text = c.text;
    JsonReader reader(text);
    ASSERT_EQ(reader.next(), c.token) << text;
    if (c.token == Token::real)
      EXPECT_EQ(reader.real(), c.real) << text;
    else
      EXPECT_EQ(reader.integer(), c.integer) << text;
  }
  std::string long_number(1 << 20, '9');
  JsonReader reader(long_number);
  ASSERT_EQ(reader.next(), Token::real);
  EXPECT_EQ(reader.real(), kInfinity);
}

TEST(JsonReader, TakesPythonsNonFiniteNumbersWhenAsked) {
  EXPECT_EQ(problem_of("[NaN, Infinity, -Infinity]", NonFinite::accept), "");
  EXPECT_NE(problem_of("[nan]", NonFinite::accept), "");
  EXPECT_NE(problem_of("[-NaN]", NonFinite::accept), "");
  EXPECT_NE(problem_of("[Inf]", NonFinite::accept), "");
}

TEST(JsonDocument, HoldsTheTree) {
  const auto parsed =
      JsonDocument::parse(R"({"a": {"b": [1, -2, 3.5]}, "c": "x\u0041", "d": true})", "f", {});
  ASSERT_TRUE(parsed.ok());
  const JsonDocument& json = *parsed;
  const std::uint32_t list = json.member(json.member(0, "a"), "b");
  ASSERT_EQ(json[list].kind, NodeKind::array);
  EXPECT_EQ(json[list + 1].integer, 1);
  EXPECT_EQ(json[list + 2].integer, -2);
  EXPECT_EQ(json[list + 3].real, 3.5);
  EXPECT_EQ(json[list].next, list + 4);
  EXPECT_EQ(json.text(json.member(0, "c")), "xA");
  EXPECT_TRUE(json[json.member(0, "d")].boolean);
  EXPECT_EQ(json.member(0, "e"), 0U);
  EXPECT_EQ(json.member(list, "a"), 0U);
}

TEST(JsonDocument, FindsTheKeysOfALargeObject) {
  std::string text = R"({"few": {"b": 1}, "many": {)";
  for (int i = 999; i >= 0; --i)
    text += "\"k" + std::to_string(i) + "\": " + std::to_string(i) + (i > 0 ? ", " : "");
  const auto json = JsonDocument::parse(text + "}}", "t", {});
  ASSERT_TRUE(json.ok());
  const std::uint32_t many = json->member(0, "many");
  for (int i = 0; i < 1000; ++i)
    EXPECT_EQ((*json)[json->member(many, "k" + std::to_string(i))].integer, i);
  for (const char* absent : {"", "k", "k1000", "zzz", "b"})
    EXPECT_EQ(json->member(many, absent), 0U);
  EXPECT_EQ((*json)[json->member(json->member(0, "few"), "b")].integer, 1);
}

TEST(JsonDocument, RefusesAKeyTwiceAtEveryLevel) {
  for (const char* text :
       {R"({"a":1,"a":2})", R"([[{"x":{"a":1,"b":2,"a":1}}]])", R"({"z":1,"\u007a":2})"}) {
    const auto parsed = JsonDocument::parse(text, "f", {});
    ASSERT_FALSE(parsed.ok()) << text;
    EXPECT_EQ(parsed.error().code, Code::duplicate_key);
  }
  EXPECT_TRUE(JsonDocument::parse(R"([{"a":1},{"a":2,"b":{"a":3}}])", "f", {}).ok());
}

TEST(JsonDocument, BoundsTheNumberOfValues) {
  EXPECT_TRUE(JsonDocument::parse("[1,2,3]", "f", {.values = 4}).ok());
  const auto parsed =
      JsonDocument::parse("[1,2,3]", "f", {.code = Code::index_invalid, .values = 3});
  ASSERT_FALSE(parsed.ok());
  EXPECT_EQ(parsed.error().code, Code::index_invalid);
}

// nlohmann-json's view of the same text. It differs by design where it is laxer (a byte order mark, deeper
// nesting, a zero byte as the end) and where numbers overflow (an error there): the texts here avoid those.
bool other_parser_takes(const std::string& text) { return nlohmann::json::accept(text); }

TEST(JsonReader, AgreesWithAnotherParserOnDamagedTexts) {
  const std::vector<std::string> seeds = {
      R"({"a.weight":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},"__metadata__":{"k":"v"}})",
      R"([null,true,false,-0,1.5e+3,-2E-2,"\u00e9\ud83e\uddea\\\"",{"x":{"y":[[],{}]}}])",
      "\"\xC3\xA9\xE2\x82\xAC\xF0\x9F\xA7\xAA and more text to fill words\"", " [ 1 , 2 ] "};
  const std::string pieces =
      "{}[]:,\"\\ \n0123456789-+.eEtrufalsn/bd\xC3\xA9\xE2\x82\xF0\x80\xFF\x1F\x7F";
  std::mt19937 random(7);
  const auto below = [&](std::size_t n) {
    return std::uniform_int_distribution<std::size_t>(0, n - 1)(random);
  };
  int taken = 0;
  for (int i = 0; i < 60'000; ++i) {
    std::string text = seeds[below(seeds.size())];
    for (std::size_t edits = 1 + below(3); edits > 0 && !text.empty(); --edits) {
      const std::size_t at = below(text.size());
      const char piece = pieces[below(pieces.size())];
      switch (below(3)) {
        case 0:
          text[at] = piece;
          break;
        case 1:
          text.insert(at, 1, piece);
          break;
        default:
          text.erase(at, 1 + below(3));
          break;
      }
    }
    if (text.find("e+3") != text.npos &&
        text.find_first_of("0123456789", text.find("e+3") + 3) != text.npos)
      text = seeds[0];  // the exponent may have grown past the range of doubles
    const bool ours = problem_of(text).empty();
    ASSERT_EQ(ours, other_parser_takes(text)) << text;
    taken += ours ? 1 : 0;
  }
  EXPECT_GT(taken, 1000);  // both sides of the question were asked
}

}  // namespace
}  // namespace ullage::checkpoint
