// Rows for a model type that the table lacks: the tensors' names say which known shape it has. Names do not
// say whether a gain is w or 1 + w, which scale a score has, or what is added to q and k, so no bound is
// claimed (AttentionLayer::guessed). What they leave open is taken so that figures are rather too large (no RMS
// norm taken for a LayerNorm, an input whose norm is not found for the residual stream).
#include <array>

#include "checkpoint/attention_reader.h"
#include "ullage/base/text.h"

namespace ullage::checkpoint {
namespace {

constexpr auto kUnknown = RopePairing::unknown;

struct Shape {
  std::string_view like;
  Row row;
};

constexpr LatentRow kLatent = {
    .query_rank = 1536, .kv_rank = 512, .nope = 128, .rope = 64, .value = 128};

constexpr std::array kShapes = {
    Shape{"deepseek_v3",
          {.query = "self_attn.kv_a_proj_with_mqa", .latent = &kLatent, .rope = kUnknown}},
    Shape{"llama", {.rope = kUnknown}},
    Shape{"bart",
          {.stack = "decoder.cross",
           .query = "encoder_attn.q_proj",
           .key = "encoder_attn.k_proj",
           .value = "encoder_attn.v_proj",
           .cross = true}},
    Shape{"phi3", {.fused = "self_attn.qkv_proj", .layout = Fused::blocks, .rope = kUnknown}},
    Shape{"baichuan", {.fused = "self_attn.W_pack", .layout = Fused::blocks, .rope = kUnknown}},
    Shape{"persimmon",
          {.fused = "self_attn.query_key_value", .layout = Fused::per_group, .rope = kUnknown}},
    Shape{"llama",
          {.query = "attention.wq",
           .key = "attention.wk",
           .value = "attention.wv",
           .rope = kUnknown}},
    Shape{"internlm2", {.fused = "attention.wqkv", .layout = Fused::per_group, .rope = kUnknown}},
    Shape{"gpt_neox",
          {.fused = "attention.query_key_value", .layout = Fused::per_group, .rope = kUnknown}},
    Shape{"chatglm",
          {.fused = "self_attention.query_key_value", .layout = Fused::blocks, .rope = kUnknown}},
    Shape{"falcon",
          {.stem = "h.{i}.",
           .fused = "self_attention.query_key_value",
           .layout = Fused::per_group,
           .rope = kUnknown}},
    Shape{"gptj",
          {.stem = "h.{i}.",
           .query = "attn.q_proj",
           .key = "attn.k_proj",
           .value = "attn.v_proj",
           .rope = kUnknown}},
    Shape{"gpt2", {.stem = "h.{i}.", .fused = "attn.c_attn", .layout = Fused::blocks}},
    Shape{"mpt",
          {.stem = "blocks.{i}.", .fused = "attn.Wqkv", .layout = Fused::blocks, .rope = kUnknown}},
    Shape{"modernbert", {.fused = "attn.Wqkv", .layout = Fused::blocks, .rope = kUnknown}},
    Shape{"bert",
          {.stem = "encoder.layer.{i}.",
           .query = "attention.self.query",
           .key = "attention.self.key",
           .value = "attention.self.value",
           .bias = PositionBias::relative_key,
           .causal = false}},
    Shape{"vit",
          {.stem = "encoder.layer.{i}.",
           .query = "attention.attention.query",
           .key = "attention.attention.key",
           .value = "attention.attention.value",
           .causal = false}},
    Shape{"wav2vec2",
          {.query = "attention.q_proj",
           .key = "attention.k_proj",
           .value = "attention.v_proj",
           .causal = false}},
    Shape{"a vision transformer",
          {.stem = "blocks.{i}.", .fused = "attn.qkv", .layout = Fused::blocks, .causal = false}},
};

// A block's own norm before attention, as one or another architecture calls it. Where the name does not
// say before what it stands, a last norm behind the stack must: only pre-norm networks need one.
struct PreNorm {
  std::string_view name;
  bool sure;
};
constexpr PreNorm kPreNorms[] = {
    {"input_layernorm", true},
    {"attention_norm", true},
    {"attention_layernorm", true},
    {"attn_norm", true},
    {"layernorm_before", true},
    {"pre_attention_layernorm", true},
    {"pre_self_attn_layernorm", true},
    {"operator_norm", true},
    {"ln_attn", true},
    {"attention.LayerNorm", true},
    {"self_attn_layer_norm", false},
    {"ln_1", false},
    {"norm_1", false},
    {"norm1", false},
    {"ln1", false},
    {"layer_norm1", false},
};
constexpr std::string_view kLastNorms =
    "norm|ln_f|norm_f|layer_norm|layernorm|final_layernorm|final_layer_norm|final_norm|ln_post|"
    "ln_final|post_layernorm";

bool says_rope(const Config& config) {
  return config.has(
      "rope_parameters|rope_scaling|rope_theta|rotary_dim|rotary_pct|partial_rotary_factor|"
      "rotary_emb_base");
}

// Which norm attention reads. A LayerNorm is told from an RMS norm by its bias; without one the weaker
// assumption is made.
NormRow guess_norm(const TensorStore& store, const Row& row, const std::string& prefix,
                   const std::string& base) {
  const auto kind = [&](const std::string& name) {
    const bool biased =
        store.find(name + ".bias") != nullptr || store.find(name + ".beta") != nullptr;
    return biased ? NormKind::layer : NormKind::rms;
  };
  if (row.cross) {  // what stands right before it, in pre- and post-norm blocks
    const bool own = find_weight(store, base + "encoder_attn_layer_norm") != nullptr &&
                     find_weight(store, prefix, kLastNorms) != nullptr;
    const std::string_view name = own ? "encoder_attn_layer_norm" : "self_attn_layer_norm";
    if (find_weight(store, base + std::string(name)) == nullptr) return residual();
    return {.kind = kind(base + std::string(name)), .name = name};
  }
  for (const auto& [name, sure] : kPreNorms)
    if (find_weight(store, base + std::string(name)) != nullptr &&
        (sure || find_weight(store, prefix, kLastNorms) != nullptr))
      return {.kind = kind(base + std::string(name)), .name = name};
  // BERT: a norm ends each half of a block. Without the embedding's there would be no first one.
  if (find_weight(store, base + "output.LayerNorm") != nullptr &&
      find_weight(store, base + "attention.output.LayerNorm") != nullptr &&
      find_weight(store, prefix + "embeddings.LayerNorm") != nullptr)
    return {.kind = NormKind::previous,
            .name = "output.LayerNorm",
            .first = {.norm = "embeddings.LayerNorm", .projection = "embeddings_project"}};
  return residual();
}

struct QkNames {
  std::string_view query, key;
  QkOver over = QkOver::head;
};
constexpr QkNames kQkNames[] = {
    {"self_attn.q_norm", "self_attn.k_norm"},
    {"self_attn.q_layernorm", "self_attn.k_layernorm"},
    {"self_attn.query_layernorm", "self_attn.key_layernorm"},
    {"attention.q_norm", "attention.k_norm"},
    {"attn.q_norm", "attn.k_norm"},
    {"self_attn.q_layernorm.norms.{h}", "self_attn.k_layernorm.norms.{h}", QkOver::tensors},
};

// Before any rotation, which is the weaker assumption.
std::optional<QkNormRow> guess_qk_norm(const TensorStore& store, const Row& row,
                                       const std::string& base) {
  if (row.latent != nullptr) return std::nullopt;
  for (const QkNames& names : kQkNames) {
    QkNormRow norm = {.over = names.over, .query = names.query, .key = names.key};
    std::string query = base + std::string(names.query);
    if (names.over == QkOver::tensors) {
      query.replace(query.rfind("{h}"), 3, "0");
      norm.kind = QkNormKind::layer;
    }
    const TensorInfo* gain = store.find(query + ".weight");
    if (gain == nullptr) continue;
    const TensorInfo* key = store.find(base + std::string(row.key) + ".weight");
    const TensorInfo* key_gain = store.find(base + std::string(names.key) + ".weight");
    if (store.find(query + ".bias") != nullptr) norm.kind = QkNormKind::layer;
    if (gain->shape.size() == 2) norm.over = QkOver::each_head;
    // One norm over all heads has as many gains as q and k have rows.
    else if (const TensorInfo* q = store.find(base + std::string(row.query) + ".weight");
             q != nullptr && key != nullptr && key_gain != nullptr && !key->shape.empty() &&
             !q->shape.empty() && gain->elements() == q->shape[0] &&
             key_gain->elements() == key->shape[0])
      norm.over = QkOver::full;
    return norm;
  }
  return std::nullopt;
}

// A norm inside attention that the row does not have would void every bound on its weights.
Status check_no_other_norm(const TensorStore& store, const Config& config, const Row& row,
                           const std::string& base) {
  const std::string_view probe = probe_of(row);
  const std::string module = base + std::string(probe.substr(0, probe.rfind('.') + 1));
  const auto is_read = [&](std::string_view name) {
    if (row.latent != nullptr && (name.find("q_a_layernorm") != std::string_view::npos ||
                                  name.find("kv_a_layernorm") != std::string_view::npos))
      return true;
    if (!row.qk_norm) return false;
    for (std::string_view side : {row.qk_norm->query, row.qk_norm->key})
      if (name.starts_with(base + std::string(side.substr(0, side.find("{h}"))))) return true;
    return false;
  };
  for (const TensorInfo& tensor : store.tensors())
    if (tensor.name.starts_with(module) &&
        tensor.name.substr(module.size()).find("norm") != std::string_view::npos &&
        !is_read(tensor.name))
      return Error{Code::architecture_unknown,
                   "model_type is not known, and its attention holds a norm of unknown place",
                   store.describe(tensor),
                   {},
                   {}};
  for (const char* key : {"use_qk_norm", "qk_layernorm", "qk_norm"}) {
    if (row.qk_norm || config.kind(key) != Config::Kind::boolean) continue;
    ULLAGE_ASSIGN(const bool on, truth(config, key, false));
    if (on)
      return Error{Code::architecture_unknown,
                   "model_type is not known, and its queries and keys are normed without a tensor "
                   "that says how",
                   config.where() + ": " + key,
                   {},
                   {}};
  }
  return {};
}

// Position biases that are announced, by a key or by a table, and not read.
bool says_bias(const TensorStore& store, const Config& config) {
  for (const char* key : {"alibi", "attn_config.alibi", "use_alibi"})
    if (const auto on = truth(config, key, false); on.ok() && *on) return true;
  for (const TensorInfo& tensor : store.tensors())
    for (const char* table : {"relative_position_bias", "relative_attention_bias", "rel_pos_bias"})
      if (tensor.name.find(table) != std::string_view::npos) return true;
  return false;
}

// Whether the class that wrote the file is a language model; false if the config does not say.
bool is_language_model(const Config& config, std::string& architecture) {
  if (config.kind("architectures") != Config::Kind::array) return false;
  const auto names = config.strings("architectures");
  if (!names.ok() || names->empty()) return false;
  architecture = names->front();
  return architecture.find("CausalLM") != std::string::npos ||
         architecture.find("LMHead") != std::string::npos;
}

// The shape's row as a layer of the unknown model has it. `group`: its layers; `biased`: the config or
// the tensors speak of position biases.
Result<Row> row_as_found(const TensorStore& store, const Config& config, const Shape& shape,
                         const LayerGroup& group, bool language_model, bool biased) {
  const Row& row = shape.row;
  const std::string base =
      group.prefix + expand(row.stem, group.layers.front().layer, group.layers.front().part);
  Row made = row;
  made.types = {};
  made.hybrid = true;
  made.norm = guess_norm(store, row, group.prefix, base);
  made.qk_norm = guess_qk_norm(store, row, base);
  ULLAGE_TRY(check_no_other_norm(store, config, made, base));
  made.causal = row.causal && !row.cross && language_model;
  if (made.rope == RopePairing::none && !made.cross && says_rope(config)) made.rope = kUnknown;
  if (made.rope == kUnknown) made.rotary = Rotary::fraction;
  if (made.bias == PositionBias::none && biased) made.bias = PositionBias::unread;
  made.clip = "clip_qkv|attn_config.clip_qkv";
  made.soft_cap = "attn_logit_softcapping";
  if (config.has("query_pre_attn_scalar")) made.scale = ScaleRule::query_pre_attn_scalar;
  if (config.has("attention_multiplier")) made.scale = ScaleRule::attention_multiplier;
  const TensorInfo* probe = store.find(base + std::string(probe_of(row)) + ".weight");
  const bool matrix = probe->shape.size() == 2;
  if (row.fused == "attn.c_attn") {  // Conv1D stores [in, out]: the long side is the second
    made.conv1d = matrix && probe->shape[1] > probe->shape[0];
    made.scale = ScaleRule::gpt2;
  }
  if (!row.fused.empty() && matrix && probe->shape[0] == 3 * probe->shape[1]) made.kv = KvRule::all;
  if (shape.like == "falcon" && config.has("multi_query|new_decoder_architecture"))
    made.kv = KvRule::falcon;
  return made;
}

// Any row of the table whose tensors are there.
Status add_rows_of_table(const TensorStore& store, const Config& config, Guess& guess) {
  for (const auto table : {encoder_decoder_rows(), fused_decoder_rows(), decoder_rows(),
                           encoder_rows(), vision_rows()})
    for (const Row& row : table) {
      ULLAGE_ASSIGN(const auto groups, find_layers(store, row.stem, probe_of(row)));
      ULLAGE_ASSIGN(const bool on, holds(config, row.when));
      const std::string_view like = row.types.substr(0, row.types.find('|'));
      if (groups.empty() || !on || (!guess.like.empty() && guess.like != like)) continue;
      guess.like = like;
      Row made = row;
      made.hybrid = !row.shared;
      if (made.rope != RopePairing::none) made.rope = kUnknown;
      guess.rows.push_back(made);
    }
  return {};
}

Error no_attention(const TensorStore& store, const Config& config, const std::string& type) {
  for (const TensorInfo& tensor : store.tensors())
    for (const char* mark : {".A_log", ".time_mix_key", ".time_decay", ".conv1d.weight"})
      if (tensor.name.ends_with(mark))
        return Error{Code::nothing_to_scan,
                     "no attention heads found, and tensors of a recurrent or state-space model",
                     store.describe(tensor),
                     {},
                     {}};
  std::string names;
  for (const Shape& shape : kShapes)
    names += (names.empty() ? "" : ", ") + std::string(shape.row.stem) +
             std::string(probe_of(shape.row));
  return Error{Code::architecture_unknown,
               "model_type is not known, and no tensor has a name that ends like one of these",
               config.where() + ": model_type", names, type.empty() ? "none" : type};
}

}  // namespace

Result<Guess> guess_rows(const TensorStore& store, const Config& config, const std::string& type) {
  std::string architecture;
  const bool language_model = is_language_model(config, architecture);
  // Nothing vouches for an unknown model but its config and its tensors: they must not contradict.
  // transformers calls a model without head FooModel and one with a head FooForCausalLM.
  if (architecture.ends_with("Model") && store.find("lm_head.weight") != nullptr)
    return Error{Code::architecture_unknown,
                 "model_type is not known, and its config is not of these tensors: a model without "
                 "a head is named, and there is one (lm_head.weight)",
                 config.where() + ": architectures", "the class that wrote the file", architecture};
  const bool biased = says_bias(store, config);
  Guess guess;
  for (const Shape& shape : kShapes) {
    const Row& row = shape.row;
    // Latent attention may have a q_proj too.
    const bool latent = !guess.rows.empty() && guess.rows.front().latent != nullptr;
    if (latent && row.query == "self_attn.q_proj") continue;
    ULLAGE_ASSIGN(const auto groups, find_layers(store, row.stem, probe_of(row)));
    if (groups.empty()) continue;
    ULLAGE_ASSIGN(const Row made,
                  row_as_found(store, config, shape, groups.front(), language_model, biased));
    if (guess.rows.empty()) guess.like = shape.like;
    guess.rows.push_back(made);
  }
  if (!guess.rows.empty()) return guess;
  ULLAGE_TRY(add_rows_of_table(store, config, guess));
  if (!guess.rows.empty()) return guess;
  return no_attention(store, config, type);
}

}  // namespace ullage::checkpoint
