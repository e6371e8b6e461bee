// A checkpoint as a whole: location, config and tensors together.
#include "ullage/checkpoint/container.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "support/safetensors_builder.h"

namespace ullage::checkpoint {
namespace {

using test::TempFolder;

const test::StoredTensor kWeight =
    test::f32_tensor("layers.0.self_attn.q_proj.weight", {1, 2}, {1, 2});

TEST(Container, OpensAFolder) {
  const TempFolder folder;
  folder.write("config.json", R"({"model_type": "llama"})");
  folder.write("model.safetensors", test::safetensors_file({kWeight}));
  const auto opened = open_container(folder.string());
  ASSERT_TRUE(opened.ok()) << opened.error().message();
  EXPECT_EQ(*opened->config.string("model_type"), "llama");
  EXPECT_NE(opened->store.find("layers.0.self_attn.q_proj.weight"), nullptr);
  EXPECT_EQ(opened->weights.block_rows, 128U);
  EXPECT_EQ(opened->weights.block_columns, 128U);
}

TEST(Container, NeedsAConfig) {
  const TempFolder folder;
  const std::string weights = folder.write("model.safetensors", test::safetensors_file({kWeight}));
  const auto without = open_container(weights);
  ASSERT_FALSE(without.ok());
  EXPECT_EQ(without.error().code, Code::not_found);
  EXPECT_NE(without.error().what.find("--config"), std::string::npos);
  const std::string config = folder.write("elsewhere/c.json", "{}");
  EXPECT_TRUE(open_container(weights, {.config = config}).ok());
}

TEST(Container, TakesTheBlockSizeOfTheConfig) {
  const TempFolder folder;
  folder.write("model.safetensors", test::safetensors_file({kWeight}));
  folder.write("config.json", R"({"quantization_config": {"weight_block_size": [64, 32]}})");
  const auto opened = open_container(folder.string());
  ASSERT_TRUE(opened.ok()) << opened.error().message();
  EXPECT_EQ(opened->weights.block_rows, 64U);
  EXPECT_EQ(opened->weights.block_columns, 32U);
  for (const char* block : {"[64]", "[0, 1]", "[1.5, 1]", "\"x\""}) {
    folder.write("config.json",
                 std::string(R"({"quantization_config": {"weight_block_size": )") + block + "}}");
    EXPECT_EQ(open_container(folder.string()).error().code, Code::config_invalid) << block;
  }
}

TEST(Container, RefusesIntegerCodesByTheirFormat) {
  const std::vector<std::pair<std::string, std::string>> packed = {
      {"model.layers.0.self_attn.q_proj.qweight", "GPTQ or AWQ"},
      {"model.layers.0.self_attn.q_proj.weight_packed", "compressed-tensors"},
      {"model.layers.0.self_attn.q_proj.weight.absmax", "bitsandbytes"},
      {"model.layers.0.self_attn.q_proj.SCB", "bitsandbytes"},
      {"transformer.h.0.attn.c_attn.W_q", "HQQ"},
      {"bert.encoder.layer.0.attention.self.query.weight._data", "quanto"},
  };
  for (const auto& [name, format] : packed) {
    const TempFolder folder;
    folder.write("config.json", R"({"quantization_config": {"quant_method": "gptq"}})");
    folder.write("model.safetensors", test::safetensors_file({{name, "I32", {1}, "1234"}}));
    const auto opened = open_container(folder.string());
    ASSERT_FALSE(opened.ok()) << name;
    EXPECT_EQ(opened.error().code, Code::format_refused);
    EXPECT_NE(opened.error().what.find(format), std::string::npos) << opened.error().message();
    EXPECT_EQ(opened.error().found, "quant_method gptq");
  }
}

TEST(Container, PackedExpertsAreNoObstacle) {
  const TempFolder folder;
  folder.write("config.json", R"({"quantization_config": {"quant_method": "awq"}})");
  folder.write(
      "model.safetensors",
      test::safetensors_file({kWeight, {"layers.0.mlp.experts.0.w1.qweight", "I32", {1}, "1234"}}));
  EXPECT_TRUE(open_container(folder.string()).ok());
}

}  // namespace
}  // namespace ullage::checkpoint
