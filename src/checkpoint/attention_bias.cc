// What is added to a score by position alone: ALiBi slopes and learned tables, as a bound for each head.
#include <algorithm>
#include <cmath>

#include "checkpoint/attention_reader.h"

namespace ullage::checkpoint {
namespace {

constexpr std::uint64_t kPanelNumbers = 8192;  // read at a time: 64 KiB as doubles

double power_of_two(double exponent) { return std::exp2(exponent); }

// Press et al., arXiv 2108.12409, for any number of heads: the slopes of the next lower power of two, then
// every other slope of the next higher one.
std::vector<double> alibi_slopes(int heads) {
  int lower = 1;
  while (lower * 2 <= heads) lower *= 2;
  std::vector<double> slopes;
  slopes.reserve(heads);
  for (int head = 0; head < lower; ++head)
    slopes.push_back(power_of_two(-8.0 * (head + 1) / lower));
  for (int head = 0; head < heads - lower; ++head)
    slopes.push_back(power_of_two(-4.0 * (2 * head + 1) / lower));
  return slopes;
}

// MPT's: those of the next higher power of two, the odd ones first.
std::vector<double> mpt_slopes(int heads, double most) {
  int higher = 1;
  while (higher < heads) higher *= 2;
  std::vector<double> slopes;
  slopes.reserve(heads);
  const auto slope = [&](int at) { return power_of_two(-(at + 1) * most / higher); };
  if (higher == heads) {
    for (int head = 0; head < heads; ++head) slopes.push_back(slope(head));
    return slopes;
  }
  for (const int start : {1, 0})
    for (int at = start; at < higher && static_cast<int>(slopes.size()) < heads; at += 2)
      slopes.push_back(slope(at));
  return slopes;
}

// Adds the largest |entry| of each head's column of a table [entries, heads].
Status add_table(const Stack& stack, const std::string& name, std::vector<double>& most) {
  const TensorStore& store = stack.tower.store;
  const TensorInfo* table = store.find(name);
  if (table == nullptr) return missing(store, name);
  const std::uint64_t heads = stack.shape.heads;
  if (table->shape.size() != 2 || table->shape[1] != heads)
    return Error{Code::config_mismatch, "the table of position biases has no column for each head",
                 store.describe(*table), "[any, " + std::to_string(heads) + "]",
                 shape_text(table->shape)};
  std::vector<double>& largest = stack.tables[table];
  if (largest.empty()) {
    largest.assign(heads, 0.0);
    const std::uint64_t panel = std::max<std::uint64_t>(1, kPanelNumbers / heads);
    std::vector<double> rows(panel * heads);
    for (std::uint64_t at = 0; at < table->shape[0]; at += panel) {
      const std::uint64_t count = std::min(panel, table->shape[0] - at) * heads;
      ULLAGE_TRY(read_elements(store, *table, at * heads, std::span<double>(rows).first(count)));
      for (std::uint64_t i = 0; i < count; ++i) {
        const double size = std::abs(rows[i]);
        double& most_of_head = largest[i % heads];
        if (size > most_of_head || std::isnan(size)) most_of_head = size;
      }
    }
  }
  most.resize(heads, 0.0);
  for (std::uint64_t head = 0; head < heads; ++head) most[head] += largest[head];
  return {};
}

// BEiT: a table of the layer, one for all layers, or both.
Status read_beit(const Stack& stack, LayerKey at, std::vector<double>& most) {
  const TensorStore& store = stack.tower.store;
  constexpr std::string_view kTable = "relative_position_bias.relative_position_bias_table";
  bool found = false;
  for (const char* module : {"attention.attention.", "attention."}) {
    const std::string name = stack.name(at.layer, at.part, module + std::string(kTable));
    if (store.find(name) == nullptr) continue;
    ULLAGE_TRY(add_table(stack, name, most));
    found = true;
    break;
  }
  const std::string common = stack.prefix + "encoder." + std::string(kTable);
  if (store.find(common) != nullptr) {
    ULLAGE_TRY(add_table(stack, common, most));
    found = true;
  }
  ULLAGE_ASSIGN(const bool own, truth(stack.tower.config, "use_relative_position_bias", false));
  ULLAGE_ASSIGN(const bool shared,
                truth(stack.tower.config, "use_shared_relative_position_bias", false));
  if ((own || shared) && !found)
    return missing(store,
                   stack.name(at.layer, at.part, "attention.attention." + std::string(kTable)));
  return {};
}

}  // namespace

Status read_position_bias(const Stack& stack, LayerKey at, AttentionLayer& layer) {
  const Config& config = stack.tower.config;
  const int heads = stack.shape.heads;
  switch (stack.row.bias) {
    case PositionBias::none:
      return {};
    case PositionBias::alibi_bloom:
      layer.bias_slope = alibi_slopes(heads);
      return {};
    case PositionBias::alibi_falcon:
      // slope and slope x position are rounded to BF16 (half a unit each, 2^-8), then scaled like scores.
      layer.bias_slope = alibi_slopes(heads);
      for (double& slope : layer.bias_slope)
        slope *= (1 + 0x1p-8) * (1 + 0x1p-8) / std::sqrt(static_cast<double>(stack.shape.head_dim));
      return {};
    case PositionBias::alibi_mpt: {
      ULLAGE_ASSIGN(const bool on, truth(config, "attn_config.alibi", true));
      ULLAGE_ASSIGN(const auto most, config.optional_number("attn_config.alibi_bias_max"));
      if (on) layer.bias_slope = mpt_slopes(heads, most.value_or(8));
      return {};
    }
    case PositionBias::t5:
    case PositionBias::t5_own:
      return add_table(stack,
                       stack.name(stack.row.bias == PositionBias::t5 ? 0 : at.layer, at.part,
                                  "layer.0.SelfAttention.relative_attention_bias.weight"),
                       layer.bias_constant);
    case PositionBias::mpnet:
      return add_table(stack, stack.prefix + "encoder.relative_attention_bias.weight",
                       layer.bias_constant);
    case PositionBias::beit:
      return read_beit(stack, at, layer.bias_constant);
    case PositionBias::relative_key: {
      ULLAGE_ASSIGN(const auto type, config.optional_string("position_embedding_type"));
      if (type && type->starts_with("relative_key"))
        layer.bias_unknown =
            "position_embedding_type relative_key adds terms that depend on content";
      return {};
    }
    case PositionBias::unread:
      layer.bias_unknown = "this model adds position biases, and how is not known";
      return {};
    case PositionBias::deberta: {
      ULLAGE_ASSIGN(const bool relative, truth(config, "relative_attention", false));
      if (relative)
        layer.bias_unknown = "disentangled attention adds position terms that depend on content";
      return {};
    }
  }
  return {};
}

}  // namespace ullage::checkpoint
