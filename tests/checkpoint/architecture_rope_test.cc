// RoPE sections that can be read in more than one way: which one counts, the largest attention factor, and up
// to which length the angles are known.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "checkpoint/made_model.h"

namespace ullage::checkpoint {
namespace {

using test::expect_error;
using test::llama_config;
using test::llama_tensors;
using test::Made;
using test::read_made;
using test::Tensors;
using testing::Contains;
using testing::HasSubstr;

constexpr double kAlways = std::numeric_limits<double>::infinity();

Made with(const std::string& more, const std::string& type = "llama") {
  return read_made(llama_config(more, type), llama_tensors());
}

Rope rope_of(const Made& made) {
  EXPECT_EQ(made.problem(), "");
  return made.model.ok() ? made.layer().rope : Rope{};
}

constexpr const char* kDefault =
    R"("rope_parameters": {"rope_type": "default", "rope_theta": 100.0})";
constexpr const char* kYarn =
    R"("rope_scaling": {"rope_type": "yarn", "factor": 64.0, "rope_theta": 10000.0,
        "original_max_position_embeddings": 16})";

TEST(ArchitectureRope, ScalingGoesBeforeParameters) {
  const Made made = with(std::string(kDefault) + ", " + kYarn);
  const Rope rope = rope_of(made);
  EXPECT_NEAR(rope.attention_factor, 1 + 0.1 * std::log(64.0), 1e-15);
  EXPECT_EQ(rope.inverse_frequency, rope_of(with(kYarn)).inverse_frequency);
  EXPECT_EQ(rope.angles_until, 0);
  EXPECT_THAT(made.value().assumptions, Contains(HasSubstr("rope_scaling and rope_parameters")));
}

TEST(ArchitectureRope, TheLargerFactorOfTwoSections) {
  const Rope rope = rope_of(with(
      R"("rope_scaling": {"type": "linear", "factor": 2.0},
         "rope_parameters": {"rope_type": "yarn", "rope_theta": 100.0, "factor": 8.0,
                             "attention_factor": 3.0, "original_max_position_embeddings": 16})"));
  EXPECT_EQ(rope.attention_factor, 3);
  EXPECT_DOUBLE_EQ(rope.inverse_frequency[0], 0.5);
}

TEST(ArchitectureRope, AnEmptyScalingIsNone) {
  for (const char* scaling : {"\"rope_scaling\": {}", "\"rope_scaling\": null"}) {
    const Made made = with(std::string(kDefault) + ", " + scaling);
    EXPECT_DOUBLE_EQ(rope_of(made).inverse_frequency[1], 0.1);
    EXPECT_EQ(rope_of(made).angles_until, kAlways);
    EXPECT_TRUE(made.value().assumptions.empty());
  }
}

TEST(ArchitectureRope, ScalingByTypeOfLayer) {
  const Rope rope = rope_of(with(
      R"("layer_types": ["full_attention", "full_attention"],
         "rope_scaling": {"full_attention": {"rope_type": "yarn", "factor": 64.0,
                                             "original_max_position_embeddings": 16}})"));
  EXPECT_NEAR(rope.attention_factor, 1 + 0.1 * std::log(64.0), 1e-15);
}

TEST(ArchitectureRope, LatentScaleIsTheLargerOfTwoSections) {
  Tensors latent;
  const std::string at = "model.layers.0.self_attn.";
  latent.add(at + "q_proj.weight", {4 * 6, 16})
      .add(at + "kv_a_proj_with_mqa.weight", {10, 16})
      .add(at + "kv_a_layernorm.weight", {8})
      .add(at + "kv_b_proj.weight", {4 * 7, 8})
      .add("model.layers.0.input_layernorm.weight", {16});
  const Made made = read_made(
      R"({"model_type": "deepseek_v3", "hidden_size": 16, "num_attention_heads": 4,
          "kv_lora_rank": 8, "qk_nope_head_dim": 4, "qk_rope_head_dim": 2, "v_head_dim": 3,
          "q_lora_rank": null, "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
          "rope_scaling": {"type": "yarn", "factor": 40.0, "mscale": 1.0, "mscale_all_dim": 1.0,
                           "original_max_position_embeddings": 16}})",
      latent);
  ASSERT_EQ(made.problem(), "");
  const double scale = 1 + 0.1 * std::log(40.0);
  EXPECT_NEAR(made.layer().score_scale, scale * scale / std::sqrt(6.0), 1e-14);
}

// ---- up to which length the angles are known

TEST(ArchitectureRope, AnglesThatChangeWithTheLength) {
  EXPECT_EQ(rope_of(with("\"rope_theta\": 100.0")).angles_until, kAlways);
  EXPECT_EQ(rope_of(with(kYarn)).angles_until, kAlways);
  const std::string dynamic = R"("rope_scaling": {"type": "dynamic", "factor": 4.0})";
  EXPECT_EQ(rope_of(with(dynamic)).angles_until, 0);
  EXPECT_EQ(rope_of(with(dynamic + ", \"max_position_embeddings\": 64")).angles_until, 64);
  const std::string su =
      R"("max_position_embeddings": 64, "rope_scaling": {"type": "su", "short_factor": [1, 2],
         "long_factor": [3, 4], "original_max_position_embeddings": 16})";
  EXPECT_EQ(rope_of(with(su)).angles_until, 16);
  EXPECT_EQ(rope_of(with(su + ", \"original_max_position_embeddings\": 16")).angles_until, 16);
  EXPECT_EQ(rope_of(with(R"("rope_scaling": {"type": "mrope", "mrope_section": [1, 1]})", "qwen2"))
                .angles_until,
            0);
}

TEST(ArchitectureRope, TwoTrainedContexts) {
  const auto long_rope = [](const std::string& top, const std::string& own) {
    return rope_of(
        with("\"max_position_embeddings\": 256, \"original_max_position_embeddings\": " + top +
             R"(, "rope_scaling": {"type": "longrope", "short_factor": [1, 1],
                              "long_factor": [4, 4], "original_max_position_embeddings": )" +
             own + "}"));
  };
  for (const Rope& rope : {long_rope("16", "64"), long_rope("64", "16")}) {
    EXPECT_NEAR(rope.attention_factor, std::sqrt(1 + std::log(16.0) / std::log(16.0)), 1e-15);
    EXPECT_EQ(rope.angles_until, 0);
  }
}

// ---- attention factors

TEST(ArchitectureRope, ScalesOfPhimoeOnlyRaiseTheFactor) {
  const auto factor = [](const std::string& scales) {
    return rope_of(with(R"("max_position_embeddings": 64, "rope_scaling": {"type": "longrope",
        "short_factor": [1, 1], "long_factor": [4, 4], "original_max_position_embeddings": 16)" +
                        scales + "}"))
        .attention_factor;
  };
  const double computed = std::sqrt(1 + std::log(4.0) / std::log(16.0));
  EXPECT_NEAR(factor(""), computed, 1e-15);
  EXPECT_NEAR(factor(", \"short_mscale\": 1.0, \"long_mscale\": 1.1"), computed, 1e-15);
  EXPECT_EQ(factor(", \"short_mscale\": 1.5, \"long_mscale\": 1.1"), 1.5);
}

TEST(ArchitectureRope, FactorsThatCannotBe) {
  const auto given = [](const std::string& factor, const std::string& more = {}) {
    return with(more + R"("rope_scaling": {"type": "yarn", "factor": 4.0,
                "original_max_position_embeddings": 16, "attention_factor": )" +
                factor + "}");
  };
  EXPECT_EQ(rope_of(given("0.5")).attention_factor, 0.5);
  for (const char* factor : {"-2.0", "0", "0.0"})
    expect_error(given(factor), Code::config_invalid, "attention_factor");
  expect_error(given("1e300"), Code::config_invalid, "not finite");
  expect_error(with(R"("original_max_position_embeddings": -4, "rope_scaling": {"type": "yarn",
                       "factor": 4.0})"),
               Code::config_invalid, "original_max_position_embeddings");
}

// ---- token types of openai-gpt

TEST(ArchitectureRope, OpenaiGptAddsItsTokensTwice) {
  Tensors tensors;
  tensors.add("h.0.attn.c_attn.weight", {4, 12})
      .add("h.0.ln_2.weight", {4})
      .add("tokens_embed.weight", {2, 4}, {3, 4, 0, 0, 0, 0, 1, 0})
      .add("positions_embed.weight", {1, 4}, {0, 0, 0, 2});
  const Made made = read_made(R"({"model_type": "openai-gpt", "n_embd": 4, "n_head": 1})", tensors);
  ASSERT_EQ(made.problem(), "");
  EXPECT_NEAR(std::sqrt(made.layer().inputs[0].query.squared_norm), 5 + 5 + 2, 1e-12);
}

}  // namespace
}  // namespace ullage::checkpoint
