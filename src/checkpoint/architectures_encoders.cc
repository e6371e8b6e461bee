// Rows of text and audio encoders, and of encoder-decoders.
#include "checkpoint/architectures.h"

namespace ullage::checkpoint {
namespace {

constexpr NormRow kBertNorm = {.kind = NormKind::previous,
                               .name = "output.LayerNorm",
                               .first = {.norm = "embeddings.LayerNorm"}};

constexpr Row kEncoders[] = {
    {.types = "bert|roberta|xlm-roberta|camembert",
     .stem = "encoder.layer.{i}.",
     .query = "attention.self.query",
     .key = "attention.self.key",
     .value = "attention.self.value",
     .norm = kBertNorm,
     .bias = PositionBias::relative_key,
     .causal = false},
    // A projection follows the embedding norm where embedding_size is not hidden_size.
    {.types = "electra",
     .stem = "encoder.layer.{i}.",
     .query = "attention.self.query",
     .key = "attention.self.key",
     .value = "attention.self.value",
     .norm = {.kind = NormKind::previous,
              .name = "output.LayerNorm",
              .first = {.norm = "embeddings.LayerNorm", .projection = "embeddings_project"}},
     .bias = PositionBias::relative_key,
     .causal = false},
    {.types = "albert",
     .stem = "encoder.albert_layer_groups.{i}.albert_layers.{j}.",
     .query = "attention.query",
     .key = "attention.key",
     .value = "attention.value",
     .norm = {.kind = NormKind::previous,
              .name = "full_layer_layer_norm",
              .first = {.norm = "embeddings.LayerNorm",
                        .projection = "encoder.embedding_hidden_mapping_in"}},
     .bias = PositionBias::relative_key,
     .causal = false,
     .shared = true},
    {.types = "distilbert",
     .stem = "transformer.layer.{i}.",
     .query = "attention.q_lin",
     .key = "attention.k_lin",
     .value = "attention.v_lin",
     .norm = {.kind = NormKind::previous,
              .name = "output_layer_norm",
              .first = {.norm = "embeddings.LayerNorm"}},
     .causal = false},
    // The large models put a convolution with a norm of its own behind layer 0.
    {.types = "deberta-v2",
     .stem = "encoder.layer.{i}.",
     .query = "attention.self.query_proj",
     .key = "attention.self.key_proj",
     .value = "attention.self.value_proj",
     .norm = {.kind = NormKind::previous,
              .name = "output.LayerNorm",
              .first = {.norm = "embeddings.LayerNorm"},
              .second = "encoder.conv.LayerNorm"},
     .scale = ScaleRule::disentangled,
     .bias = PositionBias::deberta,
     .causal = false},
    {.types = "mpnet",
     .stem = "encoder.layer.{i}.",
     .query = "attention.attn.q",
     .key = "attention.attn.k",
     .value = "attention.attn.v",
     .norm = kBertNorm,
     .bias = PositionBias::mpnet,
     .causal = false},
    {.types = "esm",
     .stem = "encoder.layer.{i}.",
     .query = "attention.self.query",
     .key = "attention.self.key",
     .value = "attention.self.value",
     .norm = layer_norm("attention.LayerNorm"),
     .rope = RopePairing::half_split,
     .no_rope = NoRope::other_encoding,
     .bias = PositionBias::relative_key,
     .causal = false},
    // Layer 0 has no norm of its own: the embedding's norm serves it.
    {.types = "modernbert",
     .fused = "attn.Wqkv",
     .layout = Fused::blocks,
     .norm = {.kind = NormKind::layer, .name = "attn_norm", .first = {.norm = "embeddings.norm"}},
     .rope = RopePairing::half_split,
     .pattern = {3, true, "global_attn_every_n_layers"},
     .causal = false,
     .kv = KvRule::all},
    {.types = "wav2vec2",
     .stem = "encoder.layers.{i}.",
     .query = "attention.q_proj",
     .key = "attention.k_proj",
     .value = "attention.v_proj",
     .norm = layer_norm("layer_norm"),
     .causal = false,
     .when = {"do_stable_layer_norm", true, false}},
    {.types = "wav2vec2",
     .stem = "encoder.layers.{i}.",
     .query = "attention.q_proj",
     .key = "attention.k_proj",
     .value = "attention.v_proj",
     .norm = {.kind = NormKind::previous,
              .name = "final_layer_norm",
              .first = {.norm = "encoder.layer_norm"}},
     .causal = false,
     .when = {"do_stable_layer_norm", false, false}},
};

constexpr std::string_view kEncoderHeads = "encoder_attention_heads";
constexpr std::string_view kDecoderHeads = "decoder_attention_heads";

// The three stacks of BART and its kin: pre-norm (own layer norms) or post-norm.
constexpr Row bart_encoder(std::string_view types, const NormRow& norm) {
  return {.types = types,
          .stack = "encoder.self",
          .stem = "encoder.layers.{i}.",
          .norm = norm,
          .causal = false,
          .heads_key = kEncoderHeads,
          .depth_key = "encoder_layers"};
}
constexpr Row bart_decoder(std::string_view types, const NormRow& norm) {
  return {.types = types,
          .stack = "decoder.self",
          .stem = "decoder.layers.{i}.",
          .norm = norm,
          .heads_key = kDecoderHeads,
          .depth_key = "decoder_layers"};
}
constexpr Row bart_cross(std::string_view types, const NormRow& norm, std::string_view memory) {
  return {.types = types,
          .stack = "decoder.cross",
          .stem = "decoder.layers.{i}.",
          .query = "encoder_attn.q_proj",
          .key = "encoder_attn.k_proj",
          .value = "encoder_attn.v_proj",
          .norm = norm,
          .causal = false,
          .memory_norm = memory,
          .cross = true,
          .heads_key = kDecoderHeads,
          .depth_key = "decoder_layers"};
}

// In a post-norm block cross-attention reads the LayerNorm behind self-attention.
constexpr NormRow kBehindSelf = layer_norm("self_attn_layer_norm");

constexpr Row t5_stack(std::string_view types, bool encoder, bool cross, PositionBias bias) {
  return {.types = types,
          .stack = encoder ? "encoder.self"
                   : cross ? "decoder.cross"
                           : "decoder.self",
          .stem = encoder ? "encoder.block.{i}." : "decoder.block.{i}.",
          .query = cross ? "layer.1.EncDecAttention.q" : "layer.0.SelfAttention.q",
          .key = cross ? "layer.1.EncDecAttention.k" : "layer.0.SelfAttention.k",
          .value = cross ? "layer.1.EncDecAttention.v" : "layer.0.SelfAttention.v",
          .norm = rms(cross ? "layer.1.layer_norm" : "layer.0.layer_norm"),
          .scale = ScaleRule::one,
          .bias = bias,
          .causal = !encoder && !cross,
          .memory_norm = cross ? "encoder.final_layer_norm" : "",
          .cross = cross,
          .heads_key = "num_heads",
          .head_dim_key = "d_kv",
          .depth_key = encoder ? "num_layers" : "num_decoder_layers|num_layers"};
}

constexpr FirstInput marian_embedding(std::string_view tokens, std::string_view positions) {
  return {.tokens = tokens, .positions = positions, .sinusoidal = true};
}

constexpr std::string_view kPreNorm = "whisper|mbart|pegasus|m2m_100";

constexpr Row kEncoderDecoders[] = {
    t5_stack("t5|mt5", true, false, PositionBias::t5),
    t5_stack("t5|mt5", false, false, PositionBias::t5),
    t5_stack("t5|mt5", false, true, PositionBias::none),
    t5_stack("umt5", true, false, PositionBias::t5_own),
    t5_stack("umt5", false, false, PositionBias::t5_own),
    t5_stack("umt5", false, true, PositionBias::none),
    bart_encoder("bart", {.kind = NormKind::previous,
                          .name = "final_layer_norm",
                          .first = {.norm = "encoder.layernorm_embedding"}}),
    bart_decoder("bart", {.kind = NormKind::previous,
                          .name = "final_layer_norm",
                          .first = {.norm = "decoder.layernorm_embedding"}}),
    bart_cross("bart", kBehindSelf, "encoder.layers.{last}.final_layer_norm"),
    bart_encoder("marian", {.kind = NormKind::previous,
                            .name = "final_layer_norm",
                            .first = marian_embedding("encoder.embed_tokens|shared",
                                                      "encoder.embed_positions")}),
    bart_decoder("marian", {.kind = NormKind::previous,
                            .name = "final_layer_norm",
                            .first = marian_embedding("decoder.embed_tokens|shared",
                                                      "decoder.embed_positions")}),
    bart_cross("marian", kBehindSelf, "encoder.layers.{last}.final_layer_norm"),
    bart_encoder(kPreNorm, layer_norm("self_attn_layer_norm")),
    bart_decoder(kPreNorm, layer_norm("self_attn_layer_norm")),
    bart_cross(kPreNorm, layer_norm("encoder_attn_layer_norm"), "encoder.layer_norm"),
};

}  // namespace

std::span<const Row> encoder_rows() { return kEncoders; }
std::span<const Row> encoder_decoder_rows() { return kEncoderDecoders; }

}  // namespace ullage::checkpoint
