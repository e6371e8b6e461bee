// One stack of layers: a row of the table applied to the tensors under one prefix.
#include <algorithm>
#include <cmath>

#include "checkpoint/attention_reader.h"

namespace ullage::checkpoint {
namespace {

// 512 MB; the largest models have a tenth of it.
constexpr std::uint64_t kMaxNumbers = 1 << 26;

// Every layer below the config's depth must be there; layers above it (multi-token prediction) are read.
Status check_depth(const Tower& tower, const Row& row, const LayerGroup& group) {
  if (row.hybrid || row.shared) return {};
  const std::string keys = row.depth_key.empty()
                               ? std::string(kDepthKeys)
                               : std::string(row.depth_key) + "|" + std::string(kDepthKeys);
  ULLAGE_ASSIGN(const auto stated, tower.config.optional_integer(keys, {1, kMaxLayers}));
  const int depth = static_cast<int>(stated.value_or(group.layers.back().layer + 1));
  std::size_t at = 0;
  for (int layer = 0; layer < depth; ++layer) {
    if (at < group.layers.size() && group.layers[at].layer == layer) {
      ++at;
      continue;
    }
    return missing(tower.store, group.prefix + expand(row.stem, layer, 0) +
                                    std::string(probe_of(row)) + ".weight");
  }
  return {};
}

Result<double> positive(const Config& config, std::string_view key, double absent) {
  ULLAGE_ASSIGN(const auto value, config.optional_number(key));
  if (value && !(*value > 0))
    return Error{Code::config_invalid, "this number must be positive",
                 config.where() + ": " + config.found_key(key), "above 0", std::to_string(*value)};
  return value.value_or(absent);
}

Result<double> read_scale(const Stack& stack, int layer) {
  const Config& config = stack.tower.config;
  const double rsqrt = 1 / std::sqrt(static_cast<double>(stack.shape.head_dim));
  switch (stack.row.scale) {
    case ScaleRule::rsqrt_head_dim:
      return rsqrt;
    case ScaleRule::one:
      return 1.0;
    case ScaleRule::gpt2: {
      ULLAGE_ASSIGN(const bool scaled, truth(config, "scale_attn_weights", true));
      ULLAGE_ASSIGN(const bool inverse, truth(config, "scale_attn_by_inverse_layer_idx", false));
      return (scaled ? rsqrt : 1) / (inverse ? layer + 1 : 1);
    }
    case ScaleRule::query_pre_attn_scalar: {
      ULLAGE_ASSIGN(const double scalar, positive(config, "query_pre_attn_scalar", 256));
      return 1 / std::sqrt(scalar);
    }
    case ScaleRule::attention_multiplier:
      return positive(config, "attention_multiplier", 1);
    case ScaleRule::softmax_scale: {
      ULLAGE_ASSIGN(const auto scale, config.optional_number("attn_config.softmax_scale"));
      return scale.value_or(0) != 0 ? std::abs(*scale) : rsqrt;
    }
    case ScaleRule::disentangled: {
      // A list of names, or in older files one string "c2p|p2c".
      std::vector<std::string> terms;
      if (config.kind("pos_att_type") == Config::Kind::string) {
        ULLAGE_ASSIGN(const std::string joined, config.string("pos_att_type"));
        for (const char* term : {"c2p", "p2c"})
          if (has_type(joined, term)) terms.push_back(term);
      } else {
        ULLAGE_ASSIGN(terms, config.strings("pos_att_type"));
      }
      const auto counted = std::count_if(terms.begin(), terms.end(), [](const std::string& term) {
        return term == "c2p" || term == "p2c";
      });
      return rsqrt / std::sqrt(1.0 + static_cast<double>(counted));
    }
  }
  return rsqrt;
}

Result<double> cap(const Config& config, std::string_view key, double absent) {
  if (key.empty()) return 0.0;
  ULLAGE_ASSIGN(const auto value, config.optional_number(key));
  if (value && *value < 0)
    return Error{Code::config_invalid, "a cap must not be negative",
                 config.where() + ": " + config.found_key(key), "0 or more",
                 std::to_string(*value)};
  return value.value_or(config.kind(key) == Config::Kind::absent ? absent : 0);
}

void say_rope(const Tower& tower, const RopeReader& rope) {
  if (rope.two_sections())
    tower.assumptions.push_back(
        "The config has rope_scaling and rope_parameters: the first is taken, as transformers "
        "does, and the larger attention factor of both.");
  if (rope.short_factors())
    tower.assumptions.push_back(
        "LongRoPE: the angles are those of the short factors, which hold up to "
        "original_max_position_embeddings; the attention factor is that of long contexts.");
  if (rope.several_axes())
    tower.assumptions.push_back(
        "M-RoPE: the angles are those between tokens of text; between parts of an image they "
        "differ by axis.");
}

// Vectors are held for every layer, in double; what a large file can claim is bounded.
std::uint64_t numbers_of(const AttentionLayer& layer) {
  std::uint64_t count = layer.query.bias.size() + layer.key.bias.size() + layer.value.bias.size();
  for (const LayerInput& input : layer.inputs)
    for (const InputNorm* norm : {&input.query, &input.key})
      count += norm->gain.size() + norm->bias.size();
  if (layer.qk_norm) count += layer.qk_norm->query_gain.size() + layer.qk_norm->key_gain.size();
  return count;
}

// Two factors that are finite each may have a product that is not, and weights would be blamed for it.
Status check_factors(const Stack& stack, const AttentionLayer& layer) {
  const double factor = layer.rope.attention_factor;
  if (std::isfinite(layer.score_scale * factor * factor)) return {};
  return Error{Code::config_invalid,
               "the score scale times the square of RoPE's attention factor is not finite",
               stack.tower.config.where(),
               {},
               std::to_string(layer.score_scale) + " and " + std::to_string(factor)};
}

// The module that holds q and k.
std::string module_name(const Stack& stack, LayerKey at) {
  std::string name = stack.name(at.layer, at.part, probe_of(stack.row));
  name.erase(name.rfind('.'));
  return name;
}

// The layer whose keys and values `at` uses.
Result<LayerKey> key_source(const Stack& stack, const Common& common, LayerKey at,
                            const LayerGroup& group) {
  const Row& row = stack.row;
  if (row.shared_kv.empty()) return at;
  const Config& config = stack.tower.config;
  ULLAGE_ASSIGN(const auto stated, config.optional_integer(kDepthKeys, {1, kMaxLayers}));
  ULLAGE_ASSIGN(const auto shared, config.optional_integer(row.shared_kv, {0, kMaxLayers}));
  const int depth = static_cast<int>(stated.value_or(group.layers.back().layer + 1));
  const int first = depth - static_cast<int>(shared.value_or(row.shared_kv_absent));
  if (at.layer < first || first == depth) return at;
  for (int layer = first - 1; layer >= 0; --layer)
    if (common.rope.type_of(layer) == common.rope.type_of(at.layer)) return LayerKey{layer, 0};
  return Error{Code::config_invalid,
               "no layer before those that share keys is of their type",
               config.where() + ": " + std::string(row.shared_kv),
               std::string(common.rope.type_of(at.layer)),
               {}};
}

Result<AttentionLayer> read_layer(const Stack& stack, const Common& common, LayerKey at,
                                  const LayerGroup& group) {
  const Row& row = stack.row;
  AttentionLayer layer;
  layer.layer = at.layer;
  if (row.shared) {  // number the layers that exist
    const auto found = std::find(group.layers.begin(), group.layers.end(), at);
    layer.layer = static_cast<int>(found - group.layers.begin());
  }
  layer.name = module_name(stack, at);
  layer.stack = row.stack;
  layer.causal = common.causal;
  layer.cross = row.cross;
  layer.value_normed = row.value_normed;
  layer.query_heads = stack.shape.heads;
  layer.kv_heads = stack.shape.kv_heads;
  ULLAGE_ASSIGN(std::vector<InputNorm> inputs, read_inputs(stack, at, group.layers));
  if (row.latent != nullptr) {
    ULLAGE_TRY(read_latent(stack, at, inputs.front(), layer));
    ULLAGE_ASSIGN(layer.rope, common.rope.read(at.layer, layer.latent->query_rope.rows));
    if (common.temperature) {
      layer.temperature_scale = common.temperature_scale;
      layer.temperature_floor = common.temperature_floor;
    }
    ULLAGE_TRY(check_factors(stack, layer));
    return layer;
  }
  ULLAGE_ASSIGN(const LayerKey source, key_source(stack, common, at, group));
  ULLAGE_ASSIGN(QueryKeyValue projections, read_projections(stack, at, source));
  layer.query = std::move(projections.query);
  layer.key = std::move(projections.key);
  layer.value = std::move(projections.value);
  layer.head_dim = stack.shape.head_dim;
  layer.value_dim = layer.value.rows;
  if (row.cross) {
    ULLAGE_ASSIGN(InputNorm memory, read_memory(stack, layer.key.width));
    layer.inputs.push_back({std::move(inputs.front()), std::move(memory)});
  } else if (source != at) {
    ULLAGE_ASSIGN(std::vector<InputNorm> keys, read_inputs(stack, source, group.layers));
    layer.inputs.push_back({std::move(inputs.front()), std::move(keys.front())});
  } else {
    for (InputNorm& input : inputs) layer.inputs.push_back({input, input});
  }
  ULLAGE_ASSIGN(layer.score_scale, read_scale(stack, at.layer));
  ULLAGE_ASSIGN(layer.rope, common.rope.read(at.layer, layer.head_dim));
  const bool turns = common.rope.turns(at.layer);
  if (common.qk_norm && (turns || !row.qk_norm->rope_layers_only)) {
    ULLAGE_ASSIGN(layer.qk_norm, read_qk_norm(stack, *row.qk_norm, at, source));
  }
  layer.soft_cap = common.soft_cap;
  layer.clip_qkv = common.clip;
  if (common.temperature && (row.temperature == Temperature::in_rope || !turns)) {
    layer.temperature_scale = common.temperature_scale;
    layer.temperature_floor = common.temperature_floor;
  }
  ULLAGE_TRY(check_factors(stack, layer));
  ULLAGE_TRY(read_position_bias(stack, at, layer));
  return layer;
}

}  // namespace

Result<Common> read_common(const Tower& tower, const Row& row) {
  const Config& config = tower.config;
  ULLAGE_ASSIGN(RopeReader rope, RopeReader::open(tower, row));
  Common common = {.rope = std::move(rope)};
  ULLAGE_ASSIGN(common.soft_cap, cap(config, row.soft_cap, row.soft_cap_absent));
  ULLAGE_ASSIGN(common.clip, cap(config, row.clip, 0));
  if (row.qk_norm) {
    ULLAGE_ASSIGN(common.qk_norm, holds(config, row.qk_norm->when));
  }
  if (row.temperature == Temperature::llama4) {
    ULLAGE_ASSIGN(common.temperature, truth(config, "attn_temperature_tuning", true));
    ULLAGE_ASSIGN(common.temperature_scale, positive(config, "attn_scale", 0.1));
    ULLAGE_ASSIGN(common.temperature_floor, positive(config, "floor_scale", 8192));
  }
  if (row.temperature == Temperature::in_rope) {
    ULLAGE_ASSIGN(const RopeReader::Temperature growth, common.rope.temperature());
    common.temperature = growth.beta > 0;
    common.temperature_scale = growth.beta;
    common.temperature_floor = growth.floor;
  }
  // Encoders can be built as decoders, and some decoders as encoders.
  ULLAGE_ASSIGN(const bool decoder, truth(config, "is_decoder", false));
  ULLAGE_ASSIGN(const bool two_way, truth(config, "use_bidirectional_attention", false));
  common.causal = row.causal && !two_way && !tower.two_way;
  if (!row.causal && !row.cross && row.stack == "self" && decoder) common.causal = true;
  say_rope(tower, common.rope);
  return common;
}

Result<std::vector<AttentionLayer>> read_stack(const Tower& tower, const Row& row,
                                               const LayerGroup& group, Common& common) {
  ULLAGE_TRY(check_depth(tower, row, group));
  ULLAGE_ASSIGN(const HeadShape shape,
                read_head_shape(tower, row, group.prefix, group.layers.front()));
  const Stack stack = {tower, row, group.prefix, shape};
  std::vector<AttentionLayer> layers;
  for (const LayerKey at : group.layers) {
    ULLAGE_ASSIGN(AttentionLayer layer, read_layer(stack, common, at, group));
    common.numbers += numbers_of(layer);
    if (common.numbers > kMaxNumbers)
      return Error{
          Code::value_invalid, "the gains and biases of all layers are more than any model has",
          stack.name(at.layer, at.part), "at most " + std::to_string(kMaxNumbers) + " numbers",
          std::to_string(common.numbers)};
    layers.push_back(std::move(layer));
  }
  return layers;
}

}  // namespace ullage::checkpoint
