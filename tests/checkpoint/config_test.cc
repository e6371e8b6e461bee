// config.json through its getters.
#include "ullage/checkpoint/config.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "support/safetensors_builder.h"

namespace ullage::checkpoint {
namespace {

Config config_of(const std::string& json) {
  auto config = Config::parse(json, "config.json");
  EXPECT_TRUE(config.ok()) << config.error().message();
  return std::move(config).value();
}

template <class T>
void expect_refused(const Result<T>& result, const std::string& part) {
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code, Code::config_invalid);
  EXPECT_NE(result.error().message().find(part), std::string::npos) << result.error().message();
}

TEST(Config, ReadsEveryType) {
  const Config config = config_of(
      R"({"n": 8, "f": 8.0, "x": 1e-5, "b": true, "s": "silu", "l": [1, 2], "names": ["a", "b"],
          "rates": [1, 0.5], "inner": {"n": 3}, "none": null})");
  EXPECT_EQ(*config.integer("n"), 8);
  EXPECT_EQ(*config.integer("f"), 8);
  EXPECT_EQ(*config.number("x"), 1e-5);
  EXPECT_EQ(*config.number("n"), 8.0);
  EXPECT_EQ(**config.optional_boolean("b"), true);
  EXPECT_EQ(*config.string("s"), "silu");
  EXPECT_EQ(*config.integers("l"), (std::vector<std::int64_t>{1, 2}));
  EXPECT_EQ(*config.numbers("rates"), (std::vector<double>{1, 0.5}));
  EXPECT_EQ(*config.strings("names"), (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(*config.integer("inner.n"), 3);
  EXPECT_EQ(config.kind("n"), Config::Kind::integer);
  EXPECT_EQ(config.kind("f"), Config::Kind::number);
  EXPECT_EQ(config.kind("none"), Config::Kind::null);
  EXPECT_EQ(config.kind("inner"), Config::Kind::object);
  EXPECT_EQ(config.kind("gone"), Config::Kind::absent);
  EXPECT_EQ(config.keys().size(), 10U);
  EXPECT_EQ(config.keys().front(), "n");
}

TEST(Config, TakesTheFirstAlternativeThatIsThere) {
  const Config config = config_of(R"({"n_head": null, "heads": 4, "attn": {"heads": 5}})");
  EXPECT_EQ(*config.integer("n_head|heads|attn.heads"), 4);
  EXPECT_EQ(*config.integer("attn.heads|heads"), 5);
  EXPECT_EQ(config.found_key("n_head|attn.heads"), "attn.heads");
  EXPECT_FALSE(config.has("n_head"));
  EXPECT_TRUE(config.has("n_head|heads"));
  EXPECT_FALSE(config.has("heads.deeper"));
  EXPECT_FALSE(config.has(""));
}

TEST(Config, AbsentAndNullAreNotErrorsUnlessRequired) {
  const Config config = config_of(R"({"a": null})");
  EXPECT_FALSE(config.optional_integer("a|b")->has_value());
  EXPECT_FALSE(config.optional_string("a")->has_value());
  EXPECT_TRUE(config.integers("a")->empty());
  expect_refused(config.integer("a|b.c"), "a or b.c is missing");
  expect_refused(config.number("a"), "a is missing");
  expect_refused(config.string("a"), "a is missing");
}

TEST(Config, AWrongTypeIsAnErrorThatSaysWhatIsThere) {
  const Config config = config_of(
      R"({"half": 4.5, "text": "4", "no": false, "list": [1], "object": {}, "big": 9223372036854775808,
          "huge": 1e400, "nan": NaN, "minus": -4, "zero": 0, "mixed": [1, "2"]})");
  expect_refused(config.integer("half"), "half must be an integer from 1 to 1000000 (found 4.5)");
  expect_refused(config.integer("text"), "found the text 4");
  expect_refused(config.integer("no"), "found false");
  expect_refused(config.integer("list"), "found a list");
  expect_refused(config.integer("object"), "found an object");
  expect_refused(config.integer("big"), "found 9.2");
  expect_refused(config.integer("huge"), "found inf");
  expect_refused(config.integer("nan"), "found nan");
  expect_refused(config.integer("minus"), "found -4");
  expect_refused(config.integer("zero"), "found 0");
  expect_refused(config.number("nan"), "nan must be a finite number");
  expect_refused(config.number("huge"), "huge must be a finite number");
  expect_refused(config.number("text"), "text must be a finite number");
  expect_refused(config.string("half"), "half must be a text");
  expect_refused(config.optional_boolean("zero"), "zero must be true or false");
  expect_refused(config.integers("half"), "half must be a list");
  expect_refused(config.integers("mixed"), "mixed[1] must be");
  EXPECT_EQ(*config.integer("minus", {.least = -10, .most = 10}), -4);
  EXPECT_EQ(*config.integer("zero", {.least = 0}), 0);
  expect_refused(config.integer("list|half", {.most = 3}), "list must be an integer from 1 to 3");
}

TEST(Config, SectionsReadFromTheirObject) {
  const Config config =
      config_of(R"({"n": 1, "text_config": {"n": 2, "rope": {"theta": 3}}, "vision": 4})");
  const auto text = config.section("text_config");
  ASSERT_TRUE(text.has_value());
  EXPECT_EQ(*text->integer("n"), 2);
  EXPECT_EQ(text->path(), "text_config.");
  EXPECT_EQ(text->found_key("rope.theta"), "text_config.rope.theta");
  expect_refused(text->integer("m"), "text_config.m is missing");
  EXPECT_EQ(*text->section("rope")->integer("theta"), 3);
  EXPECT_FALSE(config.section("vision").has_value());
  EXPECT_FALSE(config.section("gone").has_value());
}

TEST(Config, RefusesWhatIsNoConfiguration) {
  for (const std::string text :
       {"", "hello", "[]", "null", "{\"a\":", "\xEF\xBB\xBF{}", "{\"a\":\"\xFF\"}"})
    expect_refused(Config::parse(text, "config.json"), "config.json: ");
  std::string deep;
  for (int i = 0; i < 100'000; ++i) deep += "{\"a\":";
  expect_refused(Config::parse(deep, "config.json"), "64 levels");
  std::string many = "{\"a\":[0";
  for (int i = 0; i < 1'000'000; ++i) many += ",0";
  expect_refused(Config::parse(many + "]}", "config.json"), "too many values");
  expect_refused(Config::parse(std::string(kMaxConfigBytes + 1, ' '), "config.json"), "too large");
  const auto twice = Config::parse(R"({"heads": 4, "heads": 8})", "config.json");
  ASSERT_FALSE(twice.ok());
  EXPECT_EQ(twice.error().code, Code::duplicate_key);
}

TEST(Config, IsReadFromAFile) {
  const test::TempFolder folder;
  const std::string path = folder.write("config.json", R"({"model_type": "llama"})");
  const auto config = Config::read(path);
  ASSERT_TRUE(config.ok());
  EXPECT_EQ(*config->string("model_type"), "llama");
  EXPECT_EQ(config->where(), "config.json");
  EXPECT_EQ(Config::read(folder / "gone.json").error().code, Code::not_found);
  std::filesystem::create_directory(folder / "folder.json");
  EXPECT_EQ(Config::read(folder / "folder.json").error().code, Code::not_readable);
}

}  // namespace
}  // namespace ullage::checkpoint
