// What config.json may say, leave out or get wrong: class defaults, older spellings, and an error with both
// numbers wherever config and tensors disagree.
#include <gtest/gtest.h>

#include <cmath>

#include "checkpoint/made_model.h"

namespace ullage::checkpoint {
namespace {

using test::expect_error;
using test::llama_config;
using test::llama_tensors;
using test::Made;
using test::read_made;
using test::Tensors;

constexpr const char* kQ0 = "model.layers.0.self_attn.q_proj.weight";
constexpr const char* kK1 = "model.layers.1.self_attn.k_proj.weight";

// ---- what a plain Llama gives

TEST(ArchitectureConfig, ALlamaLayerIsReadWhole) {
  const Made made = read_made(llama_config("\"max_position_embeddings\": 512"), llama_tensors());
  ASSERT_EQ(made.problem(), "");
  EXPECT_EQ(made.value().model_type, "llama");
  EXPECT_EQ(made.value().max_positions, 512);
  EXPECT_TRUE(made.value().assumptions.empty());
  ASSERT_EQ(made.value().layers.size(), 2u);
  const AttentionLayer& layer = made.layer(1);
  EXPECT_EQ(layer.layer, 1);
  EXPECT_EQ(layer.name, "model.layers.1.self_attn");
  EXPECT_EQ(layer.stack, "self");
  EXPECT_TRUE(layer.causal);
  EXPECT_FALSE(layer.cross);
  EXPECT_EQ(layer.head_dim, 4);
  EXPECT_EQ(layer.value_dim, 4);
  EXPECT_DOUBLE_EQ(layer.score_scale, 0.5);
  EXPECT_EQ(layer.rope.pairing, RopePairing::half_split);
  EXPECT_EQ(layer.rope.inverse_frequency, (std::vector<double>{1, 0.01}));
  EXPECT_EQ(layer.inputs.size(), 1u);
  EXPECT_EQ(layer.inputs[0].query.name, "model.layers.1.input_layernorm.weight");
  EXPECT_EQ(layer.inputs[0].query.squared_norm, 16);
}

TEST(ArchitectureConfig, PrefixMayBeMissing) {
  EXPECT_EQ(read_made(llama_config(), llama_tensors(2, "")).layer(0).name, "layers.0.self_attn");
}

TEST(ArchitectureConfig, NamesAreAnchored) {
  Tensors tensors = llama_tensors();
  tensors.add("model.h_layers.7.self_attn.q_proj.weight", {16, 16})
      .add("model.layers.07.self_attn.q_proj.weight", {16, 16})
      .add("model.layers.0.self_attn.q_proj.weight_old", {16, 16});
  EXPECT_EQ(read_made(llama_config(), tensors).value().layers.size(), 2u);
}

TEST(ArchitectureConfig, LayersAboveTheDepthAreRead) {
  EXPECT_EQ(read_made(llama_config(), llama_tensors(3)).value().layers.size(), 3u);
}

// ---- what a config may omit

TEST(ArchitectureConfig, KvHeadsDefaultToTheClassOrToAllAsTheShapesSay) {
  Tensors all = llama_tensors();
  for (const char* layer : {"0", "1"})
    for (const char* side : {"k", "v"})
      all.add(std::string("model.layers.") + layer + ".self_attn." + side + "_proj.weight",
              {16, 16});
  const std::string config =
      R"({"model_type": "llama", "hidden_size": 16, "num_attention_heads": 4})";
  EXPECT_EQ(read_made(config, all).layer(0).kv_heads, 4);
  expect_error(read_made(config, llama_tensors()), Code::config_mismatch, "expected 16, found 8");

  // glm's class has 32 heads of 128 and two kv heads.
  Tensors glm;
  glm.add("model.layers.0.self_attn.q_proj.weight", {4096, 8})
      .add("model.layers.0.self_attn.k_proj.weight", {256, 8})
      .add("model.layers.0.self_attn.v_proj.weight", {256, 8})
      .add("model.layers.0.input_layernorm.weight", {8});
  const Made made = read_made(R"({"model_type": "glm", "hidden_size": 8})", glm);
  ASSERT_EQ(made.problem(), "");
  EXPECT_EQ(made.layer(0).query_heads, 32);
  EXPECT_EQ(made.layer(0).kv_heads, 2);
  EXPECT_EQ(made.layer(0).head_dim, 128);
  EXPECT_EQ(made.layer(0).rope.rotary_dim, 64);
}

TEST(ArchitectureConfig, RowsGiveTheHeadsWhenOnlyTheirSizeIsKnown) {
  const Made made = read_made(
      R"({"model_type": "something-new", "hidden_size": 16, "head_dim": 4, "num_key_value_heads": 2})",
      llama_tensors());
  ASSERT_EQ(made.problem(), "");
  EXPECT_EQ(made.layer(0).query_heads, 4);
}

TEST(ArchitectureConfig, ClassDefaultsOfScalesAndCaps) {
  const Made gemma = read_made(llama_config("\"head_dim\": 4", "gemma2"), llama_tensors());
  ASSERT_EQ(gemma.problem(), "");
  EXPECT_DOUBLE_EQ(gemma.layer().score_scale, 1.0 / 16);
  EXPECT_EQ(gemma.layer().soft_cap, 50);
  const Made none = read_made(
      llama_config("\"head_dim\": 4, \"attn_logit_softcapping\": null", "gemma2"), llama_tensors());
  EXPECT_EQ(none.layer().soft_cap, 0);
  EXPECT_DOUBLE_EQ(read_made(llama_config("", "granite"), llama_tensors()).layer().score_scale, 1);
}

TEST(ArchitectureConfig, GptOssIsYarnByDefault) {
  const Made made = read_made(llama_config("\"head_dim\": 4", "gpt_oss"), llama_tensors());
  ASSERT_EQ(made.problem(), "");
  EXPECT_NEAR(made.layer().rope.attention_factor, 1.3466, 1e-4);
  const Made plain = read_made(llama_config("\"head_dim\": 4, \"rope_scaling\": null", "gpt_oss"),
                               llama_tensors());
  EXPECT_EQ(plain.layer().rope.attention_factor, 1);
}

// Layers without RoPE when the lists are absent.
std::vector<bool> turning(const Made& made) {
  std::vector<bool> turns;
  for (const AttentionLayer& layer : made.value().layers)
    turns.push_back(layer.rope.pairing != RopePairing::none);
  return turns;
}

TEST(ArchitectureConfig, LayersWithoutRopeByDefault) {
  const Tensors tensors = llama_tensors(5);
  const std::vector<bool> every_fourth = {true, true, true, false, true};
  Tensors normed = tensors;
  for (int i = 0; i < 5; ++i)
    for (const char* side : {"q", "k"})
      normed.add("model.layers." + std::to_string(i) + ".self_attn." + side + "_norm.weight", {4});
  EXPECT_EQ(turning(read_made(llama_config("", "smollm3"), tensors)), every_fourth);
  EXPECT_EQ(turning(read_made(llama_config("", "cohere2"), tensors)), every_fourth);
  EXPECT_EQ(turning(read_made(llama_config("\"head_dim\": 4", "llama4_text"), tensors)),
            every_fourth);
  EXPECT_EQ(turning(read_made(llama_config("\"sliding_window\": 8", "exaone4"), normed)),
            every_fourth);
  EXPECT_EQ(turning(read_made(llama_config("\"sliding_window\": null", "exaone4"), normed)),
            std::vector<bool>(5, true));
  EXPECT_EQ(turning(read_made(llama_config("\"sliding_window\": null, "
                                           "\"sliding_window_pattern\": 0",
                                           "exaone4"),
                              normed)),
            std::vector<bool>(5, true));
  EXPECT_EQ(turning(read_made(llama_config("\"sliding_window\": 8, "
                                           "\"sliding_window_pattern\": \"LG\"",
                                           "exaone4"),
                              normed)),
            (std::vector<bool>{true, false, true, false, true}));
  EXPECT_EQ(
      turning(read_made(llama_config("\"no_rope_layers\": [0, 1, 0, 1, 1]", "smollm3"), tensors)),
      (std::vector<bool>{false, true, false, true, true}));
}

TEST(ArchitectureConfig, Llama4NormsAndTemperatureByLayer) {
  const Made made = read_made(llama_config("\"head_dim\": 4, \"attn_temperature_tuning\": 4, "
                                           "\"floor_scale\": 64, \"attn_scale\": 0.2",
                                           "llama4_text"),
                              llama_tensors(4));
  ASSERT_EQ(made.problem(), "");
  EXPECT_TRUE(made.layer(0).qk_norm.has_value());
  EXPECT_TRUE(made.layer(0).qk_norm->after_rope);
  EXPECT_EQ(made.layer(0).qk_norm->query_gain, std::vector<double>(16, 1.0));
  EXPECT_EQ(made.layer(0).temperature_scale, 0);
  EXPECT_FALSE(made.layer(3).qk_norm.has_value());
  EXPECT_EQ(made.layer(3).temperature_scale, 0.2);
  EXPECT_EQ(made.layer(3).temperature_floor, 64);
}

TEST(ArchitectureConfig, Ministral3TemperatureIsOfItsRopeSection) {
  const auto layer = [](const std::string& more) {
    const Made made =
        read_made(llama_config("\"head_dim\": 4" + more, "ministral3"), llama_tensors());
    EXPECT_EQ(made.problem(), "");
    return made.model.ok() ? made.layer() : AttentionLayer{};
  };
  const AttentionLayer given = layer(
      R"(, "rope_parameters": {"rope_type": "yarn", "factor": 2.0, "llama_4_scaling_beta": 0.5,
                                     "original_max_position_embeddings": 16})");
  EXPECT_EQ(given.temperature_scale, 0.5);
  EXPECT_EQ(given.temperature_floor, 16);
  EXPECT_NE(given.rope.pairing, RopePairing::none);
  EXPECT_EQ(layer("").temperature_scale, 0.1);
  EXPECT_EQ(layer("").temperature_floor, 16384);
  EXPECT_EQ(layer(", \"rope_theta\": 10000.0").temperature_scale, 0);
}

TEST(ArchitectureConfig, Mistral4IsLatentWithATemperature) {
  Tensors latent;
  const std::string at = "model.layers.0.self_attn.";
  latent.add(at + "q_a_proj.weight", {8, 16})
      .add(at + "q_a_layernorm.weight", {8})
      .add(at + "q_b_proj.weight", {4 * 6, 8})
      .add(at + "kv_a_proj_with_mqa.weight", {10, 16})
      .add(at + "kv_a_layernorm.weight", {8})
      .add(at + "kv_b_proj.weight", {4 * 7, 8})
      .add("model.layers.0.input_layernorm.weight", {16});
  const Made made = read_made(
      R"({"model_type": "mistral4", "hidden_size": 16, "num_attention_heads": 4, "kv_lora_rank": 8,
          "q_lora_rank": 8, "qk_nope_head_dim": 4, "qk_rope_head_dim": 2, "v_head_dim": 3})",
      latent);
  ASSERT_EQ(made.problem(), "");
  EXPECT_EQ(made.layer().temperature_scale, 0.1);
  const double scale = 1 + 0.1 * std::log(128.0);  // the class default is YaRN
  EXPECT_NEAR(made.layer().score_scale, scale * scale / std::sqrt(6.0), 1e-14);
}

TEST(ArchitectureConfig, Gemma3nSharesKeysOfTheLastLayerOfTheType) {
  Tensors tensors = llama_tensors(4);
  for (int i = 0; i < 4; ++i)
    for (const char* side : {"q", "k"})
      tensors.add("model.layers." + std::to_string(i) + ".self_attn." + side + "_norm.weight", {4});
  const std::string config =
      R"({"model_type": "gemma3n_text", "hidden_size": 16, "num_attention_heads": 4, "head_dim": 4,
          "num_key_value_heads": 2, "num_hidden_layers": 4, "num_kv_shared_layers": )";
  const std::string types =
      R"(, "layer_types": ["full_attention", "sliding_attention", "sliding_attention",
                           "full_attention"]})";
  const Made made = read_made(config + "2" + types, tensors);
  ASSERT_EQ(made.problem(), "");
  EXPECT_EQ(made.layer().score_scale, 1);
  EXPECT_TRUE(made.layer().value_normed);
  for (const auto& [layer, source] : {std::pair{0, 0}, {1, 1}, {2, 1}, {3, 0}}) {
    const AttentionLayer& read = made.layer(static_cast<std::size_t>(layer));
    const std::string of = "model.layers." + std::to_string(source) + ".";
    EXPECT_EQ(read.query.weight->name,
              "model.layers." + std::to_string(layer) + ".self_attn.q_proj.weight");
    EXPECT_EQ(read.key.weight->name, of + "self_attn.k_proj.weight");
    EXPECT_EQ(read.value.weight->name, of + "self_attn.v_proj.weight");
    EXPECT_EQ(read.inputs[0].key.name, of + "input_layernorm.weight");
    EXPECT_EQ(read.qk_norm->key_gain,
              made.layer(static_cast<std::size_t>(source)).qk_norm->key_gain);
  }
  expect_error(read_made(config + "3" + types, tensors), Code::config_invalid,
               "num_kv_shared_layers");
}

TEST(ArchitectureConfig, GatedQueriesOfQwen35Moe) {
  Tensors tensors;
  const std::string at = "model.language_model.layers.3.";
  tensors.add(at + "self_attn.q_proj.weight", {32, 16})
      .add(at + "self_attn.k_proj.weight", {8, 16})
      .add(at + "self_attn.v_proj.weight", {8, 16})
      .add(at + "self_attn.q_norm.weight", {4})
      .add(at + "self_attn.k_norm.weight", {4})
      .add(at + "input_layernorm.weight", {16});
  const Made made = read_made(llama_config("\"head_dim\": 4", "qwen3_5_moe_text"), tensors);
  ASSERT_EQ(made.problem(), "");
  EXPECT_EQ(made.layer().query.first_row, (std::vector<std::uint64_t>{0, 8, 16, 24}));
}

// ---- older spellings

TEST(ArchitectureConfig, OlderRopeSpellings) {
  const auto rope = [](const std::string& more, const std::string& type = "llama") {
    const Made made = read_made(llama_config(more, type), llama_tensors());
    EXPECT_EQ(made.problem(), "");
    return made.model.ok() ? made.layer().rope : Rope{};
  };
  EXPECT_DOUBLE_EQ(rope("\"rope_theta\": 100.0").inverse_frequency[1], 0.1);
  EXPECT_DOUBLE_EQ(rope("\"rotary_emb_base\": 100").inverse_frequency[1], 0.1);
  EXPECT_DOUBLE_EQ(rope("\"rope_theta\": 100, \"rope_scaling\": {\"type\": \"linear\", "
                        "\"factor\": 4.0}")
                       .inverse_frequency[1],
                   0.025);
  EXPECT_DOUBLE_EQ(
      rope("\"rope_scaling\": {\"type\": \"dynamic\", \"factor\": 4.0}").inverse_frequency[1],
      0.01);
  EXPECT_EQ(rope("\"rope_scaling\": {\"type\": \"mrope\", \"mrope_section\": [1, 1]}", "qwen2")
                .attention_factor,
            1);
  EXPECT_NEAR(rope("\"rope_scaling\": {\"type\": \"yarn\", \"factor\": 8.0, "
                   "\"original_max_position_embeddings\": 16}")
                  .attention_factor,
              0.1 * std::log(8.0) + 1, 1e-15);
  const Rope su = rope(
      "\"max_position_embeddings\": 64, \"original_max_position_embeddings\": 16, "
      "\"rope_scaling\": {\"type\": \"su\", \"short_factor\": [1.0, 2.0], \"long_factor\": [3, "
      "4]}");
  EXPECT_DOUBLE_EQ(su.inverse_frequency[1], 0.005);
  EXPECT_NEAR(su.attention_factor, std::sqrt(1 + std::log(4.0) / std::log(16.0)), 1e-15);
}

TEST(ArchitectureConfig, OlderGemma3AndModernBertThetas) {
  Tensors normed = llama_tensors(6);
  for (int i = 0; i < 6; ++i)
    for (const char* side : {"q", "k"})
      normed.add("model.layers." + std::to_string(i) + ".self_attn." + side + "_norm.weight", {4});
  const Made gemma = read_made(
      llama_config("\"head_dim\": 4, \"rope_theta\": 1000000.0, \"rope_local_base_freq\": 10000.0, "
                   "\"rope_scaling\": {\"rope_type\": \"linear\", \"factor\": 8.0}",
                   "gemma3_text"),
      normed);
  ASSERT_EQ(gemma.problem(), "");
  EXPECT_DOUBLE_EQ(gemma.layer(0).rope.inverse_frequency[1], 0.01);
  EXPECT_DOUBLE_EQ(gemma.layer(5).rope.inverse_frequency[1], 0.001 / 8);

  Tensors bert;
  bert.add("model.embeddings.norm.weight", {16});
  for (int i = 0; i < 4; ++i) {
    const std::string at = "model.layers." + std::to_string(i) + ".";
    bert.add(at + "attn.Wqkv.weight", {48, 16});
    if (i > 0) bert.add(at + "attn_norm.weight", {16});
  }
  const Made modern = read_made(
      R"({"model_type": "modernbert", "hidden_size": 16, "num_attention_heads": 4,
          "global_rope_theta": 160000.0, "local_rope_theta": 10000.0, "num_hidden_layers": 4})",
      bert);
  ASSERT_EQ(modern.problem(), "");
  EXPECT_DOUBLE_EQ(modern.layer(0).rope.inverse_frequency[1], 0.0025);
  EXPECT_DOUBLE_EQ(modern.layer(1).rope.inverse_frequency[1], 0.01);
  EXPECT_DOUBLE_EQ(modern.layer(3).rope.inverse_frequency[1], 0.0025);
  EXPECT_EQ(modern.layer(0).inputs[0].query.name, "model.embeddings.norm.weight");
}

Tensors neox_tensors() {
  Tensors tensors;
  tensors.add("gpt_neox.layers.0.attention.query_key_value.weight", {96, 32})
      .add("gpt_neox.layers.0.attention.query_key_value.bias", {96})
      .add("gpt_neox.layers.0.attention.bias", {1, 1, 8, 8})
      .add("gpt_neox.layers.0.attention.masked_bias", {})
      .add("gpt_neox.layers.0.attention.rotary_emb.inv_freq", {4})
      .add("gpt_neox.layers.0.input_layernorm.weight", {32})
      .add("gpt_neox.layers.0.input_layernorm.bias", {32});
  return tensors;
}

TEST(ArchitectureConfig, MaskBuffersAreNoBiases) {
  const Made made = read_made(
      R"({"model_type": "gpt_neox", "hidden_size": 32, "num_attention_heads": 4, "rotary_pct": 0.5})",
      neox_tensors());
  ASSERT_EQ(made.problem(), "");
  EXPECT_EQ(made.layer().query.bias_name, "gpt_neox.layers.0.attention.query_key_value.bias");
  EXPECT_EQ(made.layer().rope.rotary_dim, 4);
  const Made usual = read_made(
      R"({"model_type": "gpt_neox", "hidden_size": 32, "num_attention_heads": 4})", neox_tensors());
  EXPECT_EQ(usual.layer().rope.rotary_dim, 2);

  Tensors gpt2;
  gpt2.add("h.0.attn.c_attn.weight", {16, 48})
      .add("h.0.attn.bias", {1, 1, 8, 8})
      .add("h.0.ln_1.weight", {16})
      .add("h.0.ln_1.bias", {16});
  const Made without = read_made(R"({"model_type": "gpt2", "n_embd": 16, "n_head": 4})", gpt2);
  ASSERT_EQ(without.problem(), "");
  EXPECT_TRUE(without.layer().query.bias.empty());
}

Tensors bert_tensors(int layers) {
  Tensors tensors;
  tensors.add("bert.embeddings.LayerNorm.weight", {16}).add("bert.embeddings.LayerNorm.bias", {16});
  for (int i = 0; i < layers; ++i) {
    const std::string at = "bert.encoder.layer." + std::to_string(i) + ".";
    for (const char* name : {"query", "key", "value"})
      tensors.add(at + "attention.self." + name + ".weight", {16, 16})
          .add(at + "attention.self." + name + ".bias", {16});
    tensors.add(at + "output.LayerNorm.weight", {16}).add(at + "output.LayerNorm.bias", {16});
  }
  return tensors;
}

constexpr const char* kBert =
    R"({"model_type": "bert", "hidden_size": 16, "num_attention_heads": 4, "num_hidden_layers": 2)";

TEST(ArchitectureConfig, GammaAndBeta) {
  Tensors tensors = bert_tensors(2);
  for (const char* at : {"bert.embeddings.LayerNorm.", "bert.encoder.layer.0.output.LayerNorm."})
    tensors.rename(std::string(at) + "weight", std::string(at) + "gamma")
        .rename(std::string(at) + "bias", std::string(at) + "beta");
  const Made made = read_made(std::string(kBert) + "}", tensors);
  ASSERT_EQ(made.problem(), "");
  EXPECT_EQ(made.layer(0).inputs[0].query.name, "bert.embeddings.LayerNorm.gamma");
  EXPECT_EQ(made.layer(1).inputs[0].query.name, "bert.encoder.layer.0.output.LayerNorm.gamma");
  EXPECT_EQ(made.layer(1).inputs[0].query.bias.size(), 16u);
}

TEST(ArchitectureConfig, BertAsDecoderAndWithRelativeKeys) {
  EXPECT_FALSE(read_made(std::string(kBert) + "}", bert_tensors(2)).layer().causal);
  EXPECT_TRUE(
      read_made(std::string(kBert) + ", \"is_decoder\": true}", bert_tensors(2)).layer().causal);
  EXPECT_NE(read_made(std::string(kBert) + ", \"position_embedding_type\": \"relative_key\"}",
                      bert_tensors(2))
                .layer()
                .bias_unknown,
            "");
}

TEST(ArchitectureConfig, RefinedWebIsFalcon) {
  Tensors tensors;
  tensors.add("transformer.h.0.self_attention.query_key_value.weight", {32, 16})
      .add("transformer.h.0.ln_attn.weight", {16})
      .add("transformer.h.0.ln_attn.bias", {16});
  const Made grouped = read_made(
      R"({"model_type": "RefinedWeb", "hidden_size": 16, "n_head": 4, "n_head_kv": 2})", tensors);
  ASSERT_EQ(grouped.problem(), "");
  EXPECT_EQ(grouped.layer().kv_heads, 2);
  Tensors single;
  single.add("transformer.h.0.self_attention.query_key_value.weight", {24, 16})
      .add("transformer.h.0.input_layernorm.weight", {16});
  const Made one = read_made(
      R"({"model_type": "RefinedWebModel", "hidden_size": 16, "n_head": 4, "multi_query": true,
          "num_kv_heads": 4})",
      single);
  ASSERT_EQ(one.problem(), "");
  EXPECT_EQ(one.layer().kv_heads, 1);
}

TEST(ArchitectureConfig, VitUnderBothSpellings) {
  for (const auto& [stem, query] : {std::pair{"vit.encoder.layer.0.", "attention.attention.query"},
                                    std::pair{"vit.layers.0.", "attention.q_proj"}}) {
    Tensors tensors;
    const std::string old = query;
    for (const char* side : {"query", "key", "value"}) {
      const std::string name = old == "attention.q_proj"
                                   ? std::string("attention.") + side[0] + "_proj"
                                   : std::string("attention.attention.") + side;
      tensors.add(stem + name + ".weight", {16, 16});
    }
    tensors.add(std::string(stem) + "layernorm_before.weight", {16});
    const Made made =
        read_made(R"({"model_type": "vit", "hidden_size": 16, "num_attention_heads": 4})", tensors);
    EXPECT_EQ(made.problem(), "");
    EXPECT_EQ(made.value().layers.size(), 1u);
  }
}

TEST(ArchitectureConfig, DebertaConvolutionFeedsLayerOne) {
  Tensors tensors;
  tensors.add("deberta.embeddings.LayerNorm.weight", {16})
      .add("deberta.encoder.conv.LayerNorm.weight", {16});
  for (int i = 0; i < 3; ++i) {
    const std::string at = "deberta.encoder.layer." + std::to_string(i) + ".";
    for (const char* name : {"query_proj", "key_proj", "value_proj"})
      tensors.add(at + "attention.self." + name + ".weight", {16, 16});
    tensors.add(at + "output.LayerNorm.weight", {16});
  }
  const Made made = read_made(
      R"({"model_type": "deberta-v2", "hidden_size": 16, "num_attention_heads": 4,
          "relative_attention": true, "pos_att_type": "c2p|p2c"})",
      tensors);
  ASSERT_EQ(made.problem(), "");
  EXPECT_EQ(made.layer(0).inputs[0].query.name, "deberta.embeddings.LayerNorm.weight");
  EXPECT_EQ(made.layer(1).inputs[0].query.name, "deberta.encoder.conv.LayerNorm.weight");
  EXPECT_EQ(made.layer(2).inputs[0].query.name, "deberta.encoder.layer.1.output.LayerNorm.weight");
  EXPECT_DOUBLE_EQ(made.layer(0).score_scale, 1 / std::sqrt(12.0));
  EXPECT_NE(made.layer(0).bias_unknown, "");
}

// ---- disagreement, and what is missing

TEST(ArchitectureErrors, ConfigAndShapesDisagree) {
  const auto mismatch = [](const std::string& more, const std::string& part,
                           const std::string& type = "llama") {
    // The last of two equal keys would be an error, so the whole config is given.
    expect_error(read_made("{\"model_type\": \"" + type + "\", " + more + "}", llama_tensors()),
                 Code::config_mismatch, part);
  };
  const std::string rest = "\"num_attention_heads\": 4, \"num_key_value_heads\": 2";
  mismatch("\"hidden_size\": 32, " + rest, "expected 32, found 16");
  mismatch("\"hidden_size\": 16, \"head_dim\": 8, " + rest, "expected 32, found 16");
  mismatch("\"hidden_size\": 16, \"num_attention_heads\": 5", "expected 5, found 16");
  mismatch("\"hidden_size\": 16, \"num_attention_heads\": 8, \"num_key_value_heads\": 2",
           "expected 4, found 8");
  mismatch("\"hidden_size\": 16, \"num_attention_heads\": 4, \"num_key_value_heads\": 3",
           "expected 4, found 3");
  mismatch("\"hidden_size\": 16, \"num_attention_heads\": 4, \"num_key_value_heads\": 8",
           "expected 4, found 8");
}

TEST(ArchitectureErrors, ShapesOfTensors) {
  const auto broken = [](const std::string& name, std::vector<std::uint64_t> shape) {
    Tensors tensors = llama_tensors();
    tensors.add(name, std::move(shape));
    return read_made(llama_config(), tensors);
  };
  expect_error(broken(kQ0, {256}), Code::size_mismatch, "q_proj");
  expect_error(broken("model.layers.1.self_attn.q_proj.weight", {32, 16}), Code::config_mismatch,
               "expected 16, found 32");
  expect_error(broken(kK1, {8, 15}), Code::config_mismatch, "expected 16, found 15");
  expect_error(broken("model.layers.0.self_attn.v_proj.weight", {7, 16}), Code::config_mismatch,
               "expected 2, found 7");
  expect_error(broken("model.layers.0.input_layernorm.weight", {15}), Code::config_mismatch,
               "expected [16], found [15]");
  expect_error(broken("model.layers.0.self_attn.q_proj.bias", {7}), Code::config_mismatch,
               "expected [16], found [7]");
  Tensors coded = llama_tensors();
  coded.add({kQ0, "I32", {16, 16}, std::string(1024, '\0')});
  expect_error(read_made(llama_config(), coded), Code::dtype_unsupported, "q_proj");
}

TEST(ArchitectureErrors, MissingTensors) {
  const auto without = [](const std::string& name) {
    return read_made(llama_config(), llama_tensors().remove(name));
  };
  expect_error(without(kQ0), Code::tensor_missing, kQ0);
  expect_error(without("model.layers.1.self_attn.q_proj.weight"), Code::tensor_missing,
               "model.layers.1.self_attn.q_proj.weight");
  expect_error(without(kK1), Code::tensor_missing, kK1);
  expect_error(without("model.layers.0.self_attn.v_proj.weight"), Code::tensor_missing, "v_proj");
  expect_error(without("model.layers.0.input_layernorm.weight"), Code::tensor_missing,
               "input_layernorm");
  expect_error(read_made(llama_config("", "qwen3"), llama_tensors()), Code::tensor_missing,
               "q_norm");
  EXPECT_EQ(read_made(llama_config("", "qwen3"), llama_tensors()).model.error().where,
            "model.layers.0.self_attn.q_norm.weight");
  // A hole in a model whose layers all hold attention, and none in one where some do.
  Tensors hole = llama_tensors(3);
  for (const char* name : {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"})
    hole.remove(std::string("model.layers.1.") + name + ".weight");
  expect_error(read_made(llama_config(), hole), Code::tensor_missing, "layers.1.");
  EXPECT_EQ(read_made(llama_config("", "jamba"), hole).value().layers.size(), 2u);
}

TEST(ArchitectureErrors, ConfigOutOfRange) {
  const auto invalid = [](const std::string& more, const std::string& type = "llama") {
    return read_made(llama_config(more, type), llama_tensors());
  };
  expect_error(invalid("\"head_dim\": 0"), Code::config_invalid, "head_dim");
  expect_error(invalid("\"head_dim\": 100000"), Code::config_invalid, "head_dim");
  for (const char* key :
       {"\"rope_scaling\": \"yarn\"", "\"rope_parameters\": 7", "\"text_config\": true",
        "\"vision_config\": []", "\"quantization_config\": \"4\""})
    expect_error(invalid(key), Code::config_invalid, "must be an object");
  expect_error(invalid("\"rope_theta\": 0"), Code::config_invalid, "rope_theta");
  expect_error(invalid("\"rope_scaling\": {\"type\": \"spiral\"}"), Code::config_invalid, "spiral");
  expect_error(invalid("\"rope_scaling\": {\"type\": [\"x\"]}"), Code::config_invalid, "type");
  expect_error(invalid("\"rope_scaling\": {\"type\": \"linear\"}"), Code::config_invalid, "factor");
  expect_error(invalid("\"rope_scaling\": {\"type\": \"linear\", \"factor\": -2}"),
               Code::config_invalid, "factor");
  expect_error(invalid("\"rope_scaling\": {\"type\": \"longrope\", \"factor\": 2, "
                       "\"original_max_position_embeddings\": 16, \"short_factor\": [1]}"),
               Code::config_mismatch, "short_factor");
  expect_error(invalid("\"partial_rotary_factor\": 1.5", "glm"), Code::config_invalid, "1.5");
  expect_error(invalid("\"attention_multiplier\": 0", "granite"), Code::config_invalid,
               "attention_multiplier");
  expect_error(invalid("\"clip_qkv\": -1", "olmo"), Code::config_invalid, "clip_qkv");
  expect_error(invalid("\"max_position_embeddings\": -1"), Code::config_invalid, "max_position");
  expect_error(read_made(R"({"model_type": "llama", "hidden_size": 16, "num_attention_heads": 4,
                             "num_key_value_heads": 2, "num_hidden_layers": 1000000000})",
                         llama_tensors()),
               Code::config_invalid, "num_hidden_layers");
  expect_error(read_made(R"({"model_type": "llama", "num_attention_heads": 4})", llama_tensors()),
               Code::config_invalid, "hidden_size");
  Tensors far = llama_tensors();
  far.add("model.layers.99999.self_attn.q_proj.weight", {16, 16});
  expect_error(read_made(llama_config(), far), Code::value_invalid, "99999");
}

// Grams of the heads of q and k are held: a small file must not ask for gigabytes.
TEST(ArchitectureErrors, HeadsLargerThanAnyModels) {
  const auto one_head = [](std::uint64_t size) {
    Tensors tensors;
    for (const char* side : {"q", "k", "v"})
      tensors.add(std::string("model.layers.0.self_attn.") + side + "_proj.weight", {size, 2});
    tensors.add("model.layers.0.input_layernorm.weight", {2});
    return read_made(
        "{\"model_type\": \"llama\", \"hidden_size\": 2, \"num_attention_heads\": 1, "
        "\"head_dim\": " +
            std::to_string(size) + "}",
        tensors);
  };
  EXPECT_EQ(one_head(1024).problem(), "");
  expect_error(one_head(1026), Code::config_invalid, "at most 1024, found 1026");
}

// Layers that serve every depth in turn: each but the first part of a group comes behind the part before.
TEST(ArchitectureConfig, PredecessorsOfManySharedLayers) {
  constexpr int kParts = 300;
  Tensors tensors;
  tensors.add("encoder.embedding_hidden_mapping_in.weight", {4, 4})
      .add("embeddings.LayerNorm.weight", {4});
  for (int part = 0; part < kParts; ++part) {
    const std::string at = "encoder.albert_layer_groups.0.albert_layers." + std::to_string(part);
    for (const char* name : {"query", "key", "value"})
      tensors.add(at + ".attention." + name + ".weight", {4, 4});
    tensors.add(at + ".full_layer_layer_norm.weight", {4});
  }
  const Made made = read_made(
      R"({"model_type": "albert", "hidden_size": 4, "num_attention_heads": 1,
          "num_hidden_layers": 10000, "num_hidden_groups": 1, "inner_group_num": 300})",
      tensors);
  ASSERT_EQ(made.problem(), "");
  const auto names = [&](std::size_t layer) {
    std::vector<std::string> all;
    for (const LayerInput& input : made.layer(layer).inputs) all.push_back(input.query.name);
    return all;
  };
  const std::string stem = "encoder.albert_layer_groups.0.albert_layers.";
  const std::string end = ".full_layer_layer_norm.weight";
  EXPECT_EQ(names(0), (std::vector<std::string>{"encoder.embedding_hidden_mapping_in.weight",
                                                stem + "299" + end}));
  EXPECT_EQ(names(7), (std::vector<std::string>{stem + "6" + end}));
}

TEST(ArchitectureErrors, NothingToScan) {
  Tensors mamba;
  mamba.add("backbone.layers.0.mixer.A_log", {4, 4});
  expect_error(read_made(R"({"model_type": "mamba"})", mamba), Code::nothing_to_scan, "mamba");
  expect_error(read_made(llama_config(), mamba), Code::nothing_to_scan,
               "layers.{i}.self_attn.q_proj.weight");
}

}  // namespace
}  // namespace ullage::checkpoint
