// Rows of vision models, alone and as towers of multimodal models, and of CLIP's text tower.
//
// 2-D RoPE turns the pairs by the row and the column of a patch: half of the angles each.
#include "checkpoint/architectures.h"

namespace ullage::checkpoint {
namespace {

constexpr auto kHalf = RopePairing::half_split;

// ViT's modules under both spellings: the names that are written, and those that transformers 5 uses
// in memory.
constexpr Row vit(std::string_view types, const NormRow& norm, PositionBias bias) {
  return {.types = types,
          .stem = "encoder.layer.{i}.",
          .query = "attention.attention.query",
          .key = "attention.attention.key",
          .value = "attention.attention.value",
          .norm = norm,
          .bias = bias,
          .causal = false};
}
constexpr Row vit_renamed(std::string_view types, const NormRow& norm, PositionBias bias) {
  return {.types = types,
          .query = "attention.q_proj",
          .key = "attention.k_proj",
          .value = "attention.v_proj",
          .norm = norm,
          .bias = bias,
          .causal = false};
}

constexpr Row clip(std::string_view types, bool causal) {
  return {.types = types,
          .stem = "encoder.layers.{i}.",
          .norm = layer_norm("layer_norm1"),
          .causal = causal};
}

constexpr Row qwen_vision(std::string_view types, const NormRow& norm) {
  return {.types = types,
          .stem = "blocks.{i}.",
          .fused = "attn.qkv",
          .layout = Fused::blocks,
          .norm = norm,
          .rope = kHalf,
          .rotary = Rotary::patches,
          .causal = false,
          .kv = KvRule::all,
          .hidden_key = "embed_dim",
          .depth_key = "depth"};
}

constexpr Row kRows[] = {
    vit("vit|deit", layer_norm("layernorm_before"), PositionBias::none),
    vit_renamed("vit|deit", layer_norm("layernorm_before"), PositionBias::none),
    vit("dinov2", layer_norm("norm1"), PositionBias::none),
    vit_renamed("dinov2", layer_norm("norm1"), PositionBias::none),
    vit("beit", layer_norm("layernorm_before"), PositionBias::beit),
    vit_renamed("beit", layer_norm("layernorm_before"), PositionBias::beit),
    // Class and register tokens are not turned at all.
    {.types = "dinov3_vit",
     .stem = "layer.{i}.",
     .query = "attention.q_proj",
     .key = "attention.k_proj",
     .value = "attention.v_proj",
     .norm = layer_norm("norm1"),
     .rope = kHalf,
     .rotary = Rotary::patches,
     .causal = false},
    clip("clip_text_model", true),
    clip("siglip_text_model", false),
    clip("clip_vision_model|siglip_vision_model|idefics3_vision", false),
    {.types = "pixtral",
     .stem = "transformer.layers.{i}.",
     .query = "attention.q_proj",
     .key = "attention.k_proj",
     .value = "attention.v_proj",
     .norm = rms("attention_norm"),
     .rope = kHalf,
     .rotary = Rotary::patches,
     .causal = false},
    qwen_vision("qwen2_vl_vision|qwen3_vl_vision|qwen3_5_vision|qwen3_5_moe_vision",
                layer_norm("norm1")),
    qwen_vision("qwen2_5_vl_vision", rms("norm1")),
    {.types = "llama4_vision_model",
     .stem = "model.layers.{i}.",
     .norm = layer_norm(),
     .rope = RopePairing::interleaved,
     .rotary = Rotary::patches,
     .causal = false},
    {.types = "internvl_vision",
     .stem = "encoder.layer.{i}.",
     .query = "attention.q_proj",
     .key = "attention.k_proj",
     .value = "attention.v_proj",
     .norm = {.kind = NormKind::layer, .name = "layernorm_before", .rms_if = "norm_type=rms_norm"},
     .qk_norm = QkNormRow{.over = QkOver::full,
                          .query = "attention.q_norm",
                          .key = "attention.k_norm",
                          .when = {"use_qk_norm", true, false}},
     .causal = false},
    // Llama 3.2 Vision: local layers, then gated global ones.
    {.types = "mllama_vision_model",
     .stem = "transformer.layers.{i}.",
     .norm = layer_norm(),
     .causal = false},
    {.types = "mllama_vision_model",
     .stem = "global_transformer.layers.{i}.",
     .norm = layer_norm(),
     .causal = false,
     .depth_key = "num_global_layers"},
};

}  // namespace

std::span<const Row> vision_rows() { return kRows; }

}  // namespace ullage::checkpoint
