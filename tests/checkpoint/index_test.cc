// model.safetensors.index.json: shards named once each, none outside the folder.
#include "ullage/checkpoint/index.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace ullage::checkpoint {
namespace {

Code code_of(const std::string& json) {
  const auto index = parse_index(json, "i");
  EXPECT_FALSE(index.ok()) << json;
  return index.ok() ? Code::interrupted : index.error().code;
}

TEST(Index, MapsTensorsToShards) {
  auto parsed = parse_index(
      R"({"metadata":{"total_size":-1},"weight_map":{"a":"x/1.safetensors","b":"2.safetensors",)"
      R"("c":"./x//1.safetensors"}})",
      "i");
  ASSERT_TRUE(parsed.ok()) << parsed.error().message();
  const ShardedIndex index = std::move(parsed).value();
  EXPECT_EQ(index.shards, (std::vector<std::string>{"x/1.safetensors", "2.safetensors"}));
  ASSERT_EQ(index.weight_map.size(), 3U);
  EXPECT_EQ(index.weight_map[0].tensor, "a");
  EXPECT_EQ(index.weight_map[0].shard, 0U);
  EXPECT_EQ(index.weight_map[1].shard, 1U);
  EXPECT_EQ(index.weight_map[2].shard, 0U);  // another spelling of the same file
}

TEST(Index, MustHaveAWeightMap) {
  for (const char* json :
       {"", "[]", "{}", R"({"weight_map":{}})", R"({"weight_map":[]})", R"({"weight_map":null})",
        R"({"weight_map":{"a":1}})", R"({"weight_map":{"a":null}})",
        R"({"weight_map":{"a":["x.safetensors"]}})", R"({"weight_map":{"a":""}})",
        R"({"weight_map":{"a":"config.json"}})", R"({"weight_map":{"a":"."}})",
        R"({"weight_map":{"a":"x.safetensors/"}})", R"({"weight_map":{"a":"x.safetensors"})"})
    EXPECT_EQ(code_of(json), Code::index_invalid) << json;
}

TEST(Index, RefusesATensorTwice) {
  EXPECT_EQ(code_of(R"({"weight_map":{"a":"1.safetensors","a":"2.safetensors"}})"),
            Code::duplicate_key);
}

TEST(Index, RefusesPickles) {
  EXPECT_EQ(code_of(R"({"weight_map":{"a":"pytorch_model.bin"}})"), Code::format_refused);
}

TEST(Index, RefusesTooManyShards) {
  std::string json = R"({"weight_map":{)";
  for (std::size_t i = 0; i <= kMaxShards; ++i)
    json += (i == 0 ? "\"" : ",\"") + std::to_string(i) + "\":\"" + std::to_string(i) +
            ".safetensors\"";
  EXPECT_EQ(code_of(json + "}}"), Code::index_invalid);
}

TEST(ShardName, StaysInTheFolder) {
  const std::vector<std::string> escapes = {"../x.safetensors",
                                            "a/../../x.safetensors",
                                            "a/..",
                                            "/etc/x.safetensors",
                                            "~/x.safetensors",
                                            "./~/x.safetensors",
                                            "a\\x.safetensors",
                                            "C:x.safetensors",
                                            "file:///x.safetensors",
                                            "http://h/x.safetensors",
                                            std::string("x.safetensors\0/../y", 19),
                                            "\x1b[31m.safetensors",
                                            "x\n.safetensors",
                                            std::string(2000, 'a') + ".safetensors"};
  for (const std::string& name : escapes) {
    const auto clean = checked_shard_name(name, "i");
    ASSERT_FALSE(clean.ok()) << name;
    EXPECT_EQ(clean.error().code, Code::path_escape) << name;
  }
}

TEST(ShardName, IsNormalised) {
  EXPECT_EQ(*checked_shard_name("x.safetensors", "i"), "x.safetensors");
  EXPECT_EQ(*checked_shard_name("./a//./b/x.safetensors", "i"), "a/b/x.safetensors");
  EXPECT_EQ(*checked_shard_name("..a/b..safetensors", "i"), "..a/b..safetensors");
}

}  // namespace
}  // namespace ullage::checkpoint
