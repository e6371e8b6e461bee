// What an attention layer reads: its own norm, the norm that ends the layer before, an embedding, the
// residual stream, or an encoder's last norm.
#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "checkpoint/attention_reader.h"
#include "checkpoint/embedding_bound.h"

namespace ullage::checkpoint {
namespace {

InputNorm unknown_input(int width, std::string name) {
  return {.kind = InputKind::residual,
          .width = width,
          .squared_norm = std::numeric_limits<double>::infinity(),
          .name = std::move(name)};
}

InputNorm from_embedding(int width, double norm, std::string name) {
  return {.kind = InputKind::embedding,
          .width = width,
          .squared_norm = norm * norm * (1 + 0x1p-50),
          .name = std::move(name)};
}

// What layer 0 reads in a post-norm network.
Result<InputNorm> read_first(const Stack& stack) {
  const FirstInput& first = stack.row.norm.first;
  const TensorStore& store = stack.tower.store;
  const int width = stack.shape.width;
  const TensorInfo* projection =
      first.projection.empty() ? nullptr : find_weight(store, stack.prefix, first.projection);
  if (!first.norm.empty()) {
    const std::string norm = stack.prefix + std::string(first.norm);
    if (projection == nullptr) return read_norm(stack.tower, norm, true, false, width);
    ULLAGE_ASSIGN(const double bound, projected_norm_bound(stack.tower, norm, *projection, width));
    return from_embedding(width, bound, std::string(projection->name));
  }
  const TensorInfo* tokens = find_weight(store, stack.prefix, first.tokens);
  const TensorInfo* positions = find_weight(store, stack.prefix, first.positions);
  if (tokens == nullptr || (positions == nullptr && !first.sinusoidal))
    return unknown_input(width, "embeddings that this checkpoint does not hold");
  ULLAGE_ASSIGN(double bound, token_norm_bound(stack.tower, *tokens, projection, width));
  ULLAGE_ASSIGN(const bool scaled, truth(stack.tower.config, "scale_embedding", false));
  if (scaled) bound *= std::sqrt(static_cast<double>(width));
  if (first.segments) bound *= 2;
  std::string name(tokens->name);
  if (positions != nullptr) {
    ULLAGE_ASSIGN(const double of_positions,
                  token_norm_bound(stack.tower, *positions, nullptr, width));
    bound += of_positions;
    name += " + " + std::string(positions->name);
  } else {  // sine and cosine of each angle: the squares of a pair sum to 1
    bound += std::sqrt((width + 1) / 2);
    name += " + sinusoids";
  }
  return from_embedding(width, bound * (1 + 0x1p-50), std::move(name));
}

// The layers that can stand right before `at` when few layers serve all depths; none: it comes first.
Result<std::set<std::optional<LayerKey>>> predecessors(const Stack& stack, LayerKey at,
                                                       const std::vector<LayerKey>& layers) {
  const Config& config = stack.tower.config;
  ULLAGE_ASSIGN(const auto depth, config.optional_integer(kDepthKeys, {1, kMaxLayers}));
  ULLAGE_ASSIGN(const auto groups, config.optional_integer("num_hidden_groups", {1, kMaxLayers}));
  ULLAGE_ASSIGN(const auto inner, config.optional_integer("inner_group_num", {1, kMaxLayers}));
  const int count = static_cast<int>(depth.value_or(12));
  const int parts = static_cast<int>(inner.value_or(1));
  if (static_cast<std::uint64_t>(groups.value_or(1)) * parts != layers.size())
    return mismatch("num_hidden_groups x inner_group_num is not the number of layers stored",
                    config.where(), static_cast<std::uint64_t>(groups.value_or(1)) * parts,
                    layers.size());
  std::set<std::optional<LayerKey>> before;
  if (at.part >= parts) return before;
  std::optional<LayerKey> last;
  for (int depth_at = 0; depth_at < count; ++depth_at) {
    // As transformers computes it, in floating point.
    const int group =
        static_cast<int>(depth_at / (static_cast<double>(count) / groups.value_or(1)));
    if (group == at.layer)
      before.insert(at.part == 0 ? last : std::optional(LayerKey{group, at.part - 1}));
    last = LayerKey{group, parts - 1};
  }
  return before;
}

Result<InputNorm> read_previous(const Stack& stack, std::optional<LayerKey> before) {
  if (!before) return read_first(stack);
  const NormRow& norm = stack.row.norm;
  if (before->layer == 0 && !norm.second.empty() &&
      find_weight(stack.tower.store, stack.prefix, norm.second) != nullptr)
    return read_norm(stack.tower, stack.prefix + std::string(norm.second), true, false,
                     stack.shape.width);
  return read_norm(stack.tower, stack.name(before->layer, before->part, norm.name), true, false,
                   stack.shape.width);
}

// "ln_attn|input_layernorm": the first that the layer has.
std::string own_norm(const Stack& stack, LayerKey at) {
  std::string_view names = stack.row.norm.name;
  while (true) {
    const std::size_t bar = names.find('|');
    std::string name = stack.name(at.layer, at.part, names.substr(0, bar));
    if (bar == std::string_view::npos || find_weight(stack.tower.store, name) != nullptr)
      return name;
    names.remove_prefix(bar + 1);
  }
}

}  // namespace

Result<InputNorm> read_norm(const Tower& tower, const std::string& name, bool layer_norm,
                            bool plus_one, int width) {
  const TensorInfo* gain = nullptr;
  const TensorInfo* bias = nullptr;
  for (const auto& [of_gain, of_bias] :
       {std::pair{".weight", ".bias"}, std::pair{".gamma", ".beta"}})
    if (gain == nullptr) {
      gain = tower.store.find(name + of_gain);
      bias = tower.store.find(name + of_bias);
    }
  if (gain == nullptr) return missing(tower.store, name + ".weight");
  InputNorm norm = {.kind = InputKind::normalised,
                    .layer_norm = layer_norm,
                    .width = width,
                    .squared_norm = static_cast<double>(width),
                    .name = std::string(gain->name)};
  ULLAGE_ASSIGN(norm.gain, read_vector(tower.store, *gain, static_cast<std::uint64_t>(width)));
  if (plus_one)
    for (double& value : norm.gain) value += 1;
  if (bias != nullptr) {
    ULLAGE_ASSIGN(norm.bias, read_vector(tower.store, *bias, static_cast<std::uint64_t>(width)));
  }
  return norm;
}

Result<std::vector<InputNorm>> read_inputs(const Stack& stack, LayerKey at,
                                           const std::vector<LayerKey>& layers) {
  const NormRow& row = stack.row.norm;
  const int width = stack.shape.width;
  std::vector<InputNorm> inputs;
  switch (row.kind) {
    case NormKind::none:
      inputs.push_back(unknown_input(width, "the residual stream"));
      return inputs;
    case NormKind::plain_layer:
      inputs.push_back({.kind = InputKind::normalised,
                        .layer_norm = true,
                        .width = width,
                        .squared_norm = static_cast<double>(width),
                        .name = "a LayerNorm without gain"});
      return inputs;
    case NormKind::previous: {
      std::set<std::optional<LayerKey>> before;
      if (stack.row.shared) {
        ULLAGE_ASSIGN(before, predecessors(stack, at, layers));
        if (before.empty())
          return mismatch("this layer serves no depth", stack.name(at.layer, at.part), 1, 0);
      } else {
        before.insert(at.layer == 0 ? std::optional<LayerKey>() : LayerKey{at.layer - 1, 0});
      }
      for (const std::optional<LayerKey>& key : before) {
        ULLAGE_ASSIGN(InputNorm input, read_previous(stack, key));
        inputs.push_back(std::move(input));
      }
      return inputs;
    }
    case NormKind::rms:
    case NormKind::layer:
      break;
  }
  bool layer_norm = row.kind == NormKind::layer;
  if (const std::size_t equals = row.rms_if.find('='); equals != std::string_view::npos) {
    ULLAGE_ASSIGN(const auto said,
                  stack.tower.config.optional_string(row.rms_if.substr(0, equals)));
    if (said && *said == row.rms_if.substr(equals + 1)) layer_norm = false;
  }
  const std::string name = own_norm(stack, at);
  if (at.layer == 0 && !row.first.norm.empty() && find_weight(stack.tower.store, name) == nullptr) {
    ULLAGE_ASSIGN(InputNorm input, read_first(stack));
    inputs.push_back(std::move(input));
    return inputs;
  }
  ULLAGE_ASSIGN(InputNorm input, read_norm(stack.tower, name, layer_norm, row.plus_one, width));
  inputs.push_back(std::move(input));
  return inputs;
}

Result<InputNorm> read_memory(const Stack& stack, int width) {
  const std::string_view pattern = stack.row.memory_norm;
  std::string name = stack.prefix + std::string(pattern);
  if (const std::size_t mark = name.find("{last}"); mark != std::string::npos) {
    const auto at = [&](int layer) {
      std::string text = name;
      return text.replace(mark, 6, std::to_string(layer));
    };
    int& last = stack.last_memory;
    if (last < 0) last = 0;
    while (last + 1 < kMaxLayers && find_weight(stack.tower.store, at(last + 1)) != nullptr) ++last;
    name = at(last);
  }
  if (pattern.empty() || find_weight(stack.tower.store, name) == nullptr)
    return unknown_input(width, "states whose last norm this checkpoint does not hold");
  return read_norm(stack.tower, name, stack.row.norm.kind != NormKind::rms, false, width);
}

}  // namespace ullage::checkpoint
