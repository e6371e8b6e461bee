// Multi-head latent attention: queries and keys come from normed low-rank latents, and one rotary key,
// shared by all heads, straight from the block's input.
#include <cmath>

#include "checkpoint/attention_reader.h"

namespace ullage::checkpoint {

Status read_latent(const Stack& stack, LayerKey at, const InputNorm& block, AttentionLayer& layer) {
  const Tower& tower = stack.tower;
  const Config& config = tower.config;
  const LatentRow& usual = *stack.row.latent;
  const auto dimension = [&](std::string_view key, int absent) -> Result<int> {
    ULLAGE_ASSIGN(const auto value, config.optional_integer(key, {1, kMaxHeadDim}));
    return static_cast<int>(value.value_or(absent));
  };
  ULLAGE_ASSIGN(const int nope, dimension("qk_nope_head_dim", usual.nope));
  ULLAGE_ASSIGN(const int rope, dimension("qk_rope_head_dim", usual.rope));
  ULLAGE_ASSIGN(const int value, dimension("v_head_dim", usual.value));
  ULLAGE_ASSIGN(const int kv_rank, dimension("kv_lora_rank", usual.kv_rank));
  const std::uint64_t heads = stack.shape.heads;
  if (const TensorInfo* probe =
          tower.store.find(stack.name(at.layer, at.part, probe_of(stack.row)) + ".weight"))
    ULLAGE_TRY(check_query_dim(tower.store, *probe, nope + rope));
  const auto name = [&](std::string_view rest) {
    return stack.name(at.layer, at.part, "self_attn." + std::string(rest));
  };
  const auto text = [&](int a, int b) {
    return std::to_string(heads) + " heads x (" + std::to_string(a) + " + " + std::to_string(b) +
           ")";
  };

  // Queries: from the input, or from a normed latent of it.
  InputNorm query_input = block;
  std::string query_name = name("q_proj");
  if (tower.store.find(query_name + ".weight") == nullptr) {
    ULLAGE_ASSIGN(const int rank, dimension("q_lora_rank", usual.query_rank));
    const std::string down = name("q_a_proj");
    const ProjectionPlan latent = {.name = down,
                                   .heads = 1,
                                   .rows = rank,
                                   .width = stack.shape.width,
                                   .outputs = static_cast<std::uint64_t>(rank),
                                   .stride = static_cast<std::uint64_t>(rank),
                                   .what = "q_lora_rank " + std::to_string(rank)};
    ULLAGE_ASSIGN(const Projection checked, read_projection(tower, latent));
    (void)checked;  // the norm behind it hides its scale
    ULLAGE_ASSIGN(query_input, read_norm(tower, name("q_a_layernorm"), false, false, rank));
    query_name = name("q_b_proj");
  }
  const ProjectionPlan query = {.name = query_name,
                                .heads = stack.shape.heads,
                                .rows = nope,
                                .width = query_input.width,
                                .outputs = heads * (nope + rope),
                                .stride = static_cast<std::uint64_t>(nope + rope),
                                .what = text(nope, rope)};
  ProjectionPlan query_rope = query;
  query_rope.rows = rope;
  query_rope.first = nope;

  const ProjectionPlan key_rope = {.name = name("kv_a_proj_with_mqa"),
                                   .heads = 1,
                                   .rows = rope,
                                   .width = stack.shape.width,
                                   .outputs = static_cast<std::uint64_t>(kv_rank + rope),
                                   .first = static_cast<std::uint64_t>(kv_rank),
                                   .stride = static_cast<std::uint64_t>(rope),
                                   .what = "kv_lora_rank " + std::to_string(kv_rank) +
                                           " + qk_rope_head_dim " + std::to_string(rope)};
  const ProjectionPlan key = {.name = name("kv_b_proj"),
                              .heads = stack.shape.heads,
                              .rows = nope,
                              .width = kv_rank,
                              .outputs = heads * (nope + value),
                              .stride = static_cast<std::uint64_t>(nope + value),
                              .what = text(nope, value)};
  ProjectionPlan values = key;
  values.rows = value;
  values.first = nope;

  ULLAGE_ASSIGN(InputNorm key_input,
                read_norm(tower, name("kv_a_layernorm"), false, false, kv_rank));
  ULLAGE_ASSIGN(layer.query, read_projection(tower, query));
  ULLAGE_ASSIGN(layer.key, read_projection(tower, key));
  ULLAGE_ASSIGN(layer.value, read_projection(tower, values));
  LatentAttention latent;
  ULLAGE_ASSIGN(latent.query_rope, read_projection(tower, query_rope));
  ULLAGE_ASSIGN(latent.key_rope, read_projection(tower, key_rope));
  latent.rope_input = block;
  layer.latent = std::move(latent);
  layer.inputs = {{std::move(query_input), std::move(key_input)}};
  layer.head_dim = nope + rope;
  layer.value_dim = value;
  ULLAGE_ASSIGN(const double factor, latent_scale_factor(tower));
  layer.score_scale = factor / std::sqrt(static_cast<double>(nope + rope));
  return {};
}

}  // namespace ullage::checkpoint
