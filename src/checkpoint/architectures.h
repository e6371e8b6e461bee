// The table of architectures: one row a model type and attention stack, as data. What a row means is
// decided by the readers beside it (attention_*.cc); nothing here looks at a checkpoint.
//
// A tensor's key is PREFIX + stem + name + ".weight", PREFIX empty or ending in a dot ("model.",
// "transformer.", "language_model.model."). In a stem {i} is the layer's index; albert has two, {i} the
// group and {j} the place in it. Names with alternatives are written "a|b", config keys likewise.
// The rows state what Hugging Face transformers 5.23 computes and how it writes tensors; the notes
// "older" are the spellings of files written before it.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "ullage/checkpoint/attention.h"

namespace ullage::checkpoint {

// Whether a row or a QK-norm is switched on: the config's boolean `key` (or `absent`) is `value`.
struct When {
  std::string_view key = {};  // empty: always
  bool value = true;
  bool absent = false;
};

// Order of the rows of one fused tensor.
enum class Fused : std::uint8_t {
  separate,   // three tensors
  blocks,     // all of q, all of k, all of v
  per_group,  // for each kv head: its query heads, then k, then v (one kv head: blocks; H: per head)
  codegen,    // four equal slabs, each [q | v | k] of a quarter of the heads
};

enum class KvRule : std::uint8_t {
  config,  // the config's key; absent: the class default or as many as query heads, as the shapes say
  all,     // as many as query heads whatever the config says
  falcon,   // the config's if new_decoder_architecture, else 1 if multi_query, else all
  bigcode,  // 1 if multi_query, else all
};

enum class NormKind : std::uint8_t {
  rms,
  layer,
  plain_layer,  // LayerNorm without gain and bias
  previous,     // post-norm network: the LayerNorm that ends the layer before
  none,         // the residual stream itself
};

// What layer 0 reads where it is not its own or a previous layer's norm. Names are under the prefix.
struct FirstInput {
  std::string_view norm = {};  // a LayerNorm; empty: raw embeddings
  // Of the normed embedding or of the tokens, where the tensor exists.
  std::string_view projection = {};
  std::string_view tokens = {}, positions = {};  // embedding tables
  bool sinusoidal = false;                       // positions may be computed instead of stored
  bool segments = false;  // rows of `tokens` may be added a second time, as token types
};

struct NormRow {
  NormKind kind = NormKind::rms;
  std::string_view name = "input_layernorm";  // in the layer (previous: in the layer before)
  bool plus_one = false;                      // the gain is 1 + the stored weight
  FirstInput first = {};
  std::string_view second = {};  // what layer 1 reads instead, where the tensor exists
  std::string_view rms_if = {};  // "key=value": RMS where the config says so
};

enum class QkOver : std::uint8_t {
  head,       // one gain [d] for all heads
  each_head,  // gains [heads, d]
  tensors,    // one tensor [d] a head, {h} in the name
  full,       // one norm over all heads, gain [heads d]
  no_gain,    // over a head, nothing stored
};

struct QkNormRow {
  QkNormKind kind = QkNormKind::rms;
  QkOver over = QkOver::head;
  std::string_view query = "self_attn.q_norm", key = "self_attn.k_norm";
  bool plus_one = false;
  bool after_rope = false;
  bool rope_layers_only = false;
  When when = {};
};

enum class ScaleRule : std::uint8_t {
  rsqrt_head_dim,
  one,                    // the initialisation absorbs it
  gpt2,                   // scale_attn_weights, scale_attn_by_inverse_layer_idx
  query_pre_attn_scalar,  // its -1/2 power
  attention_multiplier,
  softmax_scale,  // attn_config.softmax_scale, else rsqrt_head_dim
  disentangled,   // deberta: 1 / sqrt(d (1 + terms))
};

enum class Rotary : std::uint8_t {
  whole,     // every coordinate of the head
  fraction,  // the first partial_rotary_factor of them
  count,     // the first rotary_dim of them
  patches,   // whole, angles by 2-D patch
};

// Which layers have no RoPE although the row has it.
enum class NoRope : std::uint8_t {
  never,
  full_layers,     // cohere2: where the layer's type is full_attention
  listed,          // llama4, smollm3: no_rope_layers[i] = 0
  if_windowed,     // exaone4: full layers, unless sliding_window is null
  other_encoding,  // esm: position_embedding_type is given and not "rotary"
};

// The types of layers where the config has no layer_types: one in `period` is full_attention.
struct LayerPattern {
  int period = 0;             // 0: no types
  bool first = false;         // the full layer is the first of a period, else the last
  std::string_view key = {};  // of the config, for the period
};

enum class PositionBias : std::uint8_t {
  none,
  alibi_bloom,
  alibi_falcon,
  alibi_mpt,
  t5,      // table of block 0
  t5_own,  // umt5: every block has one
  mpnet,
  beit,
  relative_key,  // bert: position_embedding_type relative_key*, content-dependent
  deberta,       // relative_attention, content-dependent
  unread,        // announced by an unknown architecture
};

// A factor on q that grows with the position.
enum class Temperature : std::uint8_t {
  none,
  llama4,   // attn_temperature_tuning on layers without RoPE
  in_rope,  // ministral3: llama_4_scaling_beta of the RoPE section
};

// Multi-head latent attention; dimensions where the config omits them.
struct LatentRow {
  int query_rank = 0, kv_rank = 0, nope = 0, rope = 0, value = 0;
};

struct Row {
  std::string_view types = {};      // model_type spellings
  std::string_view stack = "self";  // as AttentionLayer::stack
  std::string_view stem = "layers.{i}.";
  std::string_view query = "self_attn.q_proj", key = "self_attn.k_proj", value = "self_attn.v_proj";
  std::string_view fused = {};  // one tensor in their place
  Fused layout = Fused::separate;
  bool conv1d = false;       // stored [in, out]
  bool gated_query = false;  // q has, per head, d query rows and then d gate rows
  const LatentRow* latent = nullptr;
  NormRow norm = {};
  ScaleRule scale = ScaleRule::rsqrt_head_dim;
  RopePairing rope = RopePairing::none;
  Rotary rotary = Rotary::whole;
  NoRope no_rope = NoRope::never;
  LayerPattern pattern = {};
  std::optional<QkNormRow> qk_norm = {};
  std::string_view soft_cap = {};  // config key
  double soft_cap_absent = 0;      // where the file omits it
  std::string_view clip = {};      // config key
  PositionBias bias = PositionBias::none;
  Temperature temperature = Temperature::none;
  bool causal = true;
  // Cross-attention: the encoder's last norm; {last}: its last layer.
  std::string_view memory_norm = {};
  bool cross = false;
  bool shared = false;  // albert: few physical layers serve all depths
  bool hybrid = false;  // only some layers hold attention
  bool value_normed = false;
  // gemma3n: config key; the last layers, so many, use keys and values of the last layer before them of their type.
  std::string_view shared_kv = {};
  int shared_kv_absent = 0;
  KvRule kv = KvRule::config;
  // Config keys that are tried before the usual ones.
  std::string_view heads_key = {}, head_dim_key = {}, hidden_key = {}, depth_key = {};
  When when = {};
};

// The usual config keys, tried after a row's own.
inline constexpr std::string_view kHeadsKeys =
    "num_attention_heads|n_head|n_heads|num_heads|attention_heads|encoder_attention_heads";
inline constexpr std::string_view kKvHeadsKeys =
    "attn_config.kv_n_heads|num_key_value_heads|num_kv_heads|n_head_kv|multi_query_group_num";
inline constexpr std::string_view kHeadDimKeys = "head_dim|kv_channels";
inline constexpr std::string_view kHiddenKeys = "hidden_size|n_embd|d_model|dim|n_embed";
inline constexpr std::string_view kDepthKeys =
    "num_hidden_layers|n_layer|n_layers|num_layers|depth|encoder_layers";

std::span<const Row> decoder_rows();          // architectures_decoders.cc
std::span<const Row> fused_decoder_rows();    // architectures_fused.cc
std::span<const Row> encoder_rows();          // architectures_encoders.cc
std::span<const Row> encoder_decoder_rows();  // architectures_encoders.cc
std::span<const Row> vision_rows();           // architectures_vision.cc

bool has_type(std::string_view types, std::string_view type);  // "a|b|c" holds type
// Rows of a model type in order of stack; alternatives (older spellings, switched designs) are rows
// too, and those whose tensors are absent are passed over. Empty: unknown, or without attention.
std::vector<const Row*> rows_for(std::string_view type);

// "qwen3_vl_text" -> "qwen3"; a type that is no alias comes back as it is.
std::string_view canonical_type(std::string_view type);
// Known to hold no attention (state-space and recurrent models).
bool without_attention(std::string_view type);

// A model of several towers, each with a section of the config.
struct Wrapper {
  std::string_view type = {};
  std::string_view text = {};    // type of the text tower where text_config names none
  std::string_view vision = {};  // likewise
  bool both_required = false;    // clip: the vision tower is no accessory
  bool two_way_text = false;     // image tokens see later ones
};
const Wrapper* find_wrapper(std::string_view type);

// What the config class assumes for keys that a file omits; 0 where there is no such default.
struct ClassDefaults {
  std::string_view type = {};
  int heads = 0, kv_heads = 0, head_dim = 0;
  double rope_theta = 0;
  double rotary_fraction = 0;
  std::string_view rope_parameters = {};  // JSON, where the class default is more than a theta
};
const ClassDefaults& class_defaults(std::string_view type);

// Building blocks of the tables.
inline constexpr NormRow rms(std::string_view name = "input_layernorm") {
  return {.kind = NormKind::rms, .name = name};
}
inline constexpr NormRow rms_plus_one(std::string_view name = "input_layernorm") {
  return {.kind = NormKind::rms, .name = name, .plus_one = true};
}
inline constexpr NormRow layer_norm(std::string_view name = "input_layernorm") {
  return {.kind = NormKind::layer, .name = name};
}
inline constexpr NormRow residual() { return {.kind = NormKind::none, .name = {}}; }

}  // namespace ullage::checkpoint
