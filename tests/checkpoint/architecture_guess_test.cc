// Model types that the table lacks: what their tensors' names say, what is said to be assumed, and which
// towers of a model of several are read.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

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

TEST(ArchitectureGuess, LlamaShaped) {
  const Made made = read_made(llama_config("", "something-new"), llama_tensors());
  ASSERT_EQ(made.problem(), "");
  EXPECT_EQ(made.value().model_type, "something-new");
  EXPECT_THAT(made.value().assumptions, Contains(HasSubstr("read like llama")));
  EXPECT_THAT(made.value().assumptions, Contains(HasSubstr("which coordinates they pair")));
  const AttentionLayer& layer = made.layer();
  EXPECT_EQ(layer.rope.pairing, RopePairing::unknown);
  EXPECT_EQ(layer.rope.rotary_dim, 4);
  EXPECT_EQ(layer.guessed,
            "model_type something-new is not known: which norm, gain and scale its scores have is "
            "a guess");
  EXPECT_EQ(read_made(llama_config(), llama_tensors()).layer().guessed, "");
  EXPECT_EQ(layer.inputs[0].query.kind, InputKind::normalised);
  EXPECT_FALSE(layer.inputs[0].query.layer_norm);
  EXPECT_FALSE(layer.causal);  // nothing says that it is a language model
  EXPECT_TRUE(read_made(llama_config("\"architectures\": [\"NewForCausalLM\"]", "something-new"),
                        llama_tensors())
                  .layer()
                  .causal);
}

TEST(ArchitectureGuess, WithoutModelType) {
  const Made made =
      read_made(R"({"hidden_size": 16, "num_attention_heads": 4, "num_key_value_heads": 2})",
                llama_tensors());
  ASSERT_EQ(made.problem(), "");
  EXPECT_EQ(made.value().layers.size(), 2u);
}

TEST(ArchitectureGuess, NormsByWhatIsThere) {
  Tensors biased = llama_tensors();
  for (const char* layer : {"0", "1"})
    biased.add(std::string("model.layers.") + layer + ".input_layernorm.bias", {16})
        .add(std::string("model.layers.") + layer + ".self_attn.q_norm.weight", {4})
        .add(std::string("model.layers.") + layer + ".self_attn.k_norm.weight", {4});
  const Made made = read_made(llama_config("", "something-new"), biased);
  ASSERT_EQ(made.problem(), "");
  EXPECT_TRUE(made.layer().inputs[0].query.layer_norm);
  ASSERT_TRUE(made.layer().qk_norm.has_value());
  EXPECT_FALSE(made.layer().qk_norm->full_width);
  EXPECT_FALSE(made.layer().qk_norm->after_rope);

  // One key head's gain has as many entries as k has rows, and is of the head all the same.
  Tensors one_key = llama_tensors();
  for (const char* layer : {"0", "1"}) {
    const std::string at = std::string("model.layers.") + layer + ".self_attn.";
    one_key.add(at + "k_proj.weight", {4, 16})
        .add(at + "v_proj.weight", {4, 16})
        .add(at + "q_norm.weight", {4})
        .add(at + "k_norm.weight", {4});
  }
  const Made single = read_made(
      R"({"model_type": "something-new", "hidden_size": 16, "num_attention_heads": 4,
          "num_key_value_heads": 1})",
      one_key);
  ASSERT_EQ(single.problem(), "");
  EXPECT_FALSE(single.layer().qk_norm->full_width);

  Tensors full = llama_tensors();
  for (const char* layer : {"0", "1"})
    full.rename(std::string("model.layers.") + layer + ".input_layernorm.weight",
                std::string("model.layers.") + layer + ".post_attention_layernorm.weight")
        .add(std::string("model.layers.") + layer + ".self_attn.q_norm.weight", {16})
        .add(std::string("model.layers.") + layer + ".self_attn.k_norm.weight", {8});
  const Made reordered = read_made(llama_config("", "something-new"), full);
  ASSERT_EQ(reordered.problem(), "");
  EXPECT_EQ(reordered.layer().inputs[0].query.kind, InputKind::residual);
  EXPECT_TRUE(reordered.layer().qk_norm->full_width);
}

TEST(ArchitectureGuess, BertShaped) {
  Tensors tensors;
  tensors.add("new.embeddings.LayerNorm.weight", {16}).add("new.embeddings.LayerNorm.bias", {16});
  for (const char* layer : {"0", "1"}) {
    const std::string at = std::string("new.encoder.layer.") + layer + ".";
    for (const char* side : {"query", "key", "value"})
      tensors.add(at + "attention.self." + side + ".weight", {16, 16});
    tensors.add(at + "attention.output.LayerNorm.weight", {16})
        .add(at + "output.LayerNorm.weight", {16});
  }
  const std::string config =
      R"({"model_type": "newbert", "hidden_size": 16, "num_attention_heads": 4)";
  const Made made = read_made(config + "}", tensors);
  ASSERT_EQ(made.problem(), "");
  EXPECT_EQ(made.layer(0).rope.pairing, RopePairing::none);
  EXPECT_EQ(made.layer(0).inputs[0].query.name, "new.embeddings.LayerNorm.weight");
  EXPECT_EQ(made.layer(1).inputs[0].query.name, "new.encoder.layer.0.output.LayerNorm.weight");
  EXPECT_EQ(read_made(config + ", \"rope_theta\": 10000}", tensors).layer(0).rope.pairing,
            RopePairing::unknown);
}

TEST(ArchitectureGuess, Gpt2ShapedUnderBothOrientations) {
  const std::string config = R"({"model_type": "newgpt", "n_embd": 16, "n_head": 4})";
  for (const bool conv1d : {true, false}) {
    Tensors tensors;
    tensors
        .add("h.0.attn.c_attn.weight",
             conv1d ? std::vector<std::uint64_t>{16, 48} : std::vector<std::uint64_t>{48, 16})
        .add("h.0.ln_1.weight", {16});
    const Made made = read_made(config, tensors);
    ASSERT_EQ(made.problem(), "");
    EXPECT_EQ(made.layer().query.storage.layout, conv1d ? Layout::in_out : Layout::out_in);
    EXPECT_THAT(made.value().assumptions, Contains(HasSubstr("order of q, k and v")));
  }
}

TEST(ArchitectureGuess, EncoderAndDecoderWithCrossAttention) {
  Tensors tensors;
  for (const char* side : {"model.encoder.", "model.decoder."}) {
    const std::string at = std::string(side) + "layers.0.";
    for (const char* name : {"q_proj", "k_proj", "v_proj"}) {
      tensors.add(at + "self_attn." + name + ".weight", {16, 16});
      if (std::string(side) == "model.decoder.")
        tensors.add(at + "encoder_attn." + name + ".weight", {16, 16});
    }
    tensors.add(at + "self_attn_layer_norm.weight", {16})
        .add(at + "encoder_attn_layer_norm.weight", {16})
        .add(std::string(side) + "layer_norm.weight", {16});
  }
  const Made made = read_made(
      R"({"model_type": "newbart", "d_model": 16, "encoder_attention_heads": 4})", tensors);
  ASSERT_EQ(made.problem(), "");
  ASSERT_EQ(made.value().layers.size(), 3u);
  EXPECT_TRUE(made.layer(2).cross);
  EXPECT_EQ(made.layer(2).inputs[0].key.kind, InputKind::residual);
  EXPECT_EQ(made.layer(2).inputs[0].query.kind, InputKind::normalised);
}

TEST(ArchitectureGuess, ChatGlmNamesItsGroupsAndChannels) {
  Tensors tensors;
  tensors
      .add("transformer.encoder.layers.0.self_attention.query_key_value.weight",
           {(4 + 2 * 2) * 8, 16})
      .add("transformer.encoder.layers.0.input_layernorm.weight", {16});
  const Made made = read_made(
      R"({"model_type": "chatglm", "hidden_size": 16, "num_attention_heads": 4, "num_layers": 1,
          "multi_query_attention": true, "multi_query_group_num": 2, "kv_channels": 8})",
      tensors);
  ASSERT_EQ(made.problem(), "");
  EXPECT_EQ(made.layer().kv_heads, 2);
  EXPECT_EQ(made.layer().head_dim, 8);
}

TEST(ArchitectureGuess, T5AndLatent) {
  Tensors t5;
  t5.add("decoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight", {8, 4})
      .add("decoder.block.0.layer.0.layer_norm.weight", {16});
  for (const char* name : {"q", "k", "v"})
    t5.add(std::string("decoder.block.0.layer.0.SelfAttention.") + name + ".weight", {16, 16});
  const Made like_t5 =
      read_made(R"({"model_type": "newt5", "d_model": 16, "num_heads": 4, "d_kv": 4})", t5);
  ASSERT_EQ(like_t5.problem(), "");
  EXPECT_THAT(like_t5.value().assumptions, Contains(HasSubstr("read like t5")));
  EXPECT_EQ(like_t5.layer().bias_constant.size(), 4u);

  Tensors latent;
  const std::string at = "model.layers.0.self_attn.";
  latent.add(at + "q_proj.weight", {4 * 6, 16})
      .add(at + "kv_a_proj_with_mqa.weight", {10, 16})
      .add(at + "kv_a_layernorm.weight", {8})
      .add(at + "kv_b_proj.weight", {4 * 7, 8})
      .add("model.layers.0.input_layernorm.weight", {16});
  const Made like_deepseek = read_made(
      R"({"model_type": "newseek", "hidden_size": 16, "num_attention_heads": 4, "kv_lora_rank": 8,
          "qk_nope_head_dim": 4, "qk_rope_head_dim": 2, "v_head_dim": 3})",
      latent);
  ASSERT_EQ(like_deepseek.problem(), "");
  EXPECT_TRUE(like_deepseek.layer().latent.has_value());
  EXPECT_EQ(like_deepseek.value().layers.size(), 1u);
}

TEST(ArchitectureGuess, AnyRowOfTheTable) {
  Tensors tensors;
  tensors.add("h.0.attn.qkv_proj.weight", {48, 16}).add("h.0.ln_1.weight", {16});
  const Made made = read_made(R"({"model_type": "newgen", "n_embd": 16, "n_head": 4})", tensors);
  ASSERT_EQ(made.problem(), "");
  EXPECT_THAT(made.value().assumptions, Contains(HasSubstr("read like codegen")));
  EXPECT_NE(made.layer().guessed, "");
  EXPECT_EQ(made.layer().rope.pairing, RopePairing::unknown);
}

TEST(ArchitectureGuess, WhatTheConfigAnnounces) {
  const Made made = read_made(
      llama_config("\"clip_qkv\": 3.5, \"attn_logit_softcapping\": 20.0, \"alibi\": true, "
                   "\"query_pre_attn_scalar\": 64",
                   "something-new"),
      llama_tensors());
  ASSERT_EQ(made.problem(), "");
  EXPECT_EQ(made.layer().clip_qkv, 3.5);
  EXPECT_EQ(made.layer().soft_cap, 20);
  EXPECT_NE(made.layer().bias_unknown, "");
  EXPECT_EQ(made.layer().score_scale, 0.125);
}

// An ambiguous name is a pre-norm only where a last norm stands behind the stack.
TEST(ArchitectureGuess, PreNormNeedsALastNorm) {
  Tensors tensors;
  tensors.add("h.0.attn.c_attn.weight", {16, 48}).add("h.0.ln_1.weight", {16});
  const std::string config = R"({"model_type": "newgpt", "n_embd": 16, "n_head": 4})";
  EXPECT_EQ(read_made(config, tensors).layer().inputs[0].query.kind, InputKind::residual);
  tensors.add("ln_f.weight", {16});
  EXPECT_EQ(read_made(config, tensors).layer().inputs[0].query.kind, InputKind::normalised);
}

TEST(ArchitectureGuess, NormsInsideAttentionThatItCannotPlace) {
  Tensors tensors = llama_tensors();
  tensors.add("model.layers.0.self_attn.v_norm.weight", {4});
  expect_error(read_made(llama_config("", "something-new"), tensors), Code::architecture_unknown,
               "v_norm");
  expect_error(read_made(llama_config("\"use_qk_norm\": true", "something-new"), llama_tensors()),
               Code::architecture_unknown, "use_qk_norm");
}

TEST(ArchitectureGuess, RefusesWhatItCannotRead) {
  Tensors strange;
  strange.add("blobs.0.mixing.weight", {16, 16});
  const Made unknown = read_made(llama_config("", "foobar"), strange);
  expect_error(unknown, Code::architecture_unknown, "layers.{i}.self_attn.q_proj");
  Tensors recurrent;
  recurrent.add("layers.0.mixer.A_log", {16});
  expect_error(read_made(llama_config("", "foobar"), recurrent), Code::nothing_to_scan, "A_log");
  // Nothing but the config vouches for an unknown model: it must not contradict the tensors.
  Tensors headed = llama_tensors();
  headed.add("lm_head.weight", {8, 16});
  expect_error(read_made(llama_config("\"architectures\": [\"FooBarModel\"]", "foobar"), headed),
               Code::architecture_unknown, "FooBarModel");
  EXPECT_EQ(read_made(llama_config("\"architectures\": [\"FooBarForCausalLM\"]", "foobar"), headed)
                .problem(),
            "");
  expect_error(read_made("{}", llama_tensors()), Code::config_invalid, "num_attention_heads");
}

// ---- towers

Tensors tower_tensors() {
  Tensors tensors = llama_tensors(2, "language_model.model.");
  for (int i = 0; i < 2; ++i) {
    const std::string at = "vision_tower.vision_model.encoder.layers." + std::to_string(i) + ".";
    for (const char* side : {"q", "k", "v"})
      tensors.add(at + "self_attn." + side + "_proj.weight", {12, 12})
          .add(at + "self_attn." + side + "_proj.bias", {12});
    tensors.add(at + "layer_norm1.weight", {12}).add(at + "layer_norm1.bias", {12});
  }
  return tensors;
}

std::string tower_config(const std::string& type, const std::string& vision) {
  return "{\"model_type\": \"" + type +
         "\", \"text_config\": " + llama_config("\"max_position_embeddings\": 64") +
         ", \"vision_config\": " + vision + "}";
}

constexpr const char* kClip =
    R"({"model_type": "clip_vision_model", "hidden_size": 12, "num_attention_heads": 3,
        "num_hidden_layers": 2})";

TEST(ArchitectureTowers, TextAndVision) {
  const Made made = read_made(tower_config("llava", kClip), tower_tensors());
  ASSERT_EQ(made.problem(), "");
  EXPECT_TRUE(made.value().assumptions.empty());
  ASSERT_EQ(made.value().layers.size(), 4u);
  EXPECT_EQ(made.layer(0).name, "language_model.model.layers.0.self_attn");
  EXPECT_EQ(made.layer(0).query_heads, 4);
  EXPECT_EQ(made.layer(2).name, "vision_tower.vision_model.encoder.layers.0.self_attn");
  EXPECT_EQ(made.layer(2).query_heads, 3);
  EXPECT_EQ(made.layer(2).layer, 0);
  EXPECT_FALSE(made.layer(2).causal);
  EXPECT_EQ(made.value().max_positions, 64);
}

TEST(ArchitectureTowers, AVisionTowerThatDoesNotFitIsSkippedAloud) {
  for (const char* vision :
       {R"({"model_type": "clip_vision_model", "hidden_size": 12, "num_attention_heads": 5})",
        R"({"model_type": "an-unknown-eye", "hidden_size": 12, "num_attention_heads": 3})"}) {
    const Made made = read_made(tower_config("llava", vision), tower_tensors());
    ASSERT_EQ(made.problem(), "");
    EXPECT_EQ(made.value().layers.size(), 2u);
    EXPECT_THAT(made.value().assumptions, Contains(HasSubstr("vision tower is not scanned")));
  }
  const Made silent = read_made(
      "{\"model_type\": \"llava\", \"text_config\": " + llama_config() + "}", tower_tensors());
  EXPECT_THAT(silent.value().assumptions, Contains(HasSubstr("vision_config")));
}

TEST(ArchitectureTowers, OlderFilesHaveNoTextSection) {
  Tensors tensors = llama_tensors();
  for (const char* layer : {"0", "1"})
    for (const char* side : {"q", "k", "v"})
      tensors.add(std::string("model.layers.") + layer + ".self_attn." + side + "_proj.bias",
                  {side[0] == 'q' ? 16u : 8u});
  const Made made = read_made(llama_config("", "qwen2_vl"), tensors);
  ASSERT_EQ(made.problem(), "");
  EXPECT_EQ(made.layer().query.bias.size(), 16u);
}

TEST(ArchitectureTowers, AnUnknownWrapperAroundKnownTowers) {
  const Made made = read_made(tower_config("newvlm", kClip), tower_tensors());
  ASSERT_EQ(made.problem(), "");
  EXPECT_EQ(made.value().layers.size(), 4u);
  EXPECT_EQ(made.layer().rope.pairing, RopePairing::half_split);
  EXPECT_THAT(made.value().assumptions, Contains(HasSubstr("newvlm is not known")));
}

TEST(ArchitectureTowers, AnUnknownTextTowerIsAGuess) {
  const Made made =
      read_made("{\"model_type\": \"llava\", \"text_config\": " + llama_config("", "newtext") +
                    ", \"vision_config\": " + kClip + "}",
                tower_tensors());
  ASSERT_EQ(made.problem(), "");
  ASSERT_EQ(made.value().layers.size(), 4u);
  EXPECT_NE(made.layer(0).guessed, "");
  EXPECT_EQ(made.layer(2).guessed, "");
}

TEST(ArchitectureTowers, PaliGemmaSeesBothWays) {
  const Made made = read_made("{\"model_type\": \"paligemma\", \"text_config\": " +
                                  llama_config("\"head_dim\": 4", "gemma") + "}",
                              llama_tensors(2, "language_model.model."));
  ASSERT_EQ(made.problem(), "");
  EXPECT_FALSE(made.layer().causal);
}

TEST(ArchitectureTowers, ManyAssumptionsAreCounted) {
  Tensors tensors = llama_tensors();
  for (int i = 0; i < 30; ++i)
    tensors.add("draft" + std::to_string(i) + ".layers.0.self_attn.q_proj.weight", {4, 4});
  const Made made = read_made(llama_config(), tensors);
  ASSERT_EQ(made.problem(), "");
  ASSERT_EQ(made.value().assumptions.size(), 11u);
  EXPECT_EQ(made.value().assumptions.back(), "20 more like these are left out.");
}

TEST(ArchitectureTowers, CrossAttentionThatIsNotReadIsSaid) {
  Tensors tensors;
  tensors.add("h.0.attn.c_attn.weight", {16, 48})
      .add("h.0.ln_1.weight", {16})
      .add("h.0.crossattention.q_attn.weight", {16, 16});
  const Made made = read_made(R"({"model_type": "gpt2", "n_embd": 16, "n_head": 4})", tensors);
  ASSERT_EQ(made.problem(), "");
  EXPECT_THAT(made.value().assumptions, Contains(HasSubstr("cross-attention")));
}

TEST(ArchitectureTowers, OfEqualNamesOneMustFit) {
  Tensors tensors = llama_tensors();
  tensors.add("draft.layers.0.self_attn.q_proj.weight", {4, 4});
  const Made made = read_made(llama_config(), tensors);
  ASSERT_EQ(made.problem(), "");
  EXPECT_EQ(made.value().layers.size(), 2u);
  EXPECT_THAT(made.value().assumptions, Contains(HasSubstr("under draft. are not scanned")));
}

}  // namespace
}  // namespace ullage::checkpoint
