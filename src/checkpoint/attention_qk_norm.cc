// The gains of a norm on queries and keys, from the five shapes in which they are stored.
#include "checkpoint/attention_reader.h"

namespace ullage::checkpoint {
namespace {

struct GainSide {
  std::string_view name;  // in the layer
  int heads;
};

// heads * head_dim numbers of one side, from whichever shape they are stored in.
Result<std::vector<double>> read_gain(const Stack& stack, const QkNormRow& row, LayerKey at,
                                      const GainSide& side, std::string_view ending) {
  const TensorStore& store = stack.tower.store;
  const std::uint64_t d = stack.shape.head_dim;
  const bool bias = ending == ".bias";
  std::vector<double> values;
  values.reserve(side.heads * d);
  const auto read = [&](const std::string& name,
                        std::uint64_t count) -> Result<std::vector<double>> {
    const TensorInfo* tensor = store.find(name + std::string(ending));
    if (tensor == nullptr) {
      if (bias) return std::vector<double>{};
      return missing(store, name + std::string(ending));
    }
    if (row.over != QkOver::each_head) return read_vector(store, *tensor, count);
    if (tensor->shape.size() != 2 || tensor->shape[0] != static_cast<std::uint64_t>(side.heads) ||
        tensor->shape[1] != d)
      return Error{Code::config_mismatch, "the norm of the heads has another shape",
                   store.describe(*tensor),
                   "[" + std::to_string(side.heads) + ", " + std::to_string(d) + "]",
                   shape_text(tensor->shape)};
    std::vector<double> all(count);
    ULLAGE_TRY(read_elements(store, *tensor, 0, std::span<double>(all)));
    return all;
  };
  switch (row.over) {
    case QkOver::no_gain:
      if (!bias) values.assign(side.heads * d, 1.0);
      return values;
    case QkOver::full:
    case QkOver::each_head:
      return read(stack.name(at.layer, at.part, side.name), side.heads * d);
    case QkOver::head: {
      ULLAGE_ASSIGN(const auto one, read(stack.name(at.layer, at.part, side.name), d));
      for (int head = 0; head < side.heads; ++head)
        values.insert(values.end(), one.begin(), one.end());
      return values;
    }
    case QkOver::tensors:
      if (bias) return values;
      for (int head = 0; head < side.heads; ++head) {
        std::string name = stack.name(at.layer, at.part, side.name);
        name.replace(name.rfind("{h}"), 3, std::to_string(head));
        ULLAGE_ASSIGN(const auto one, read(name, d));
        values.insert(values.end(), one.begin(), one.end());
      }
      return values;
  }
  return values;
}

}  // namespace

Result<QkNorm> read_qk_norm(const Stack& stack, const QkNormRow& row, LayerKey at,
                            LayerKey source) {
  QkNorm norm;
  norm.kind = row.kind;
  norm.full_width = row.over == QkOver::full;
  norm.after_rope = row.after_rope;
  const GainSide query = {row.query, stack.shape.heads};
  const GainSide key = {row.key, stack.shape.kv_heads};
  ULLAGE_ASSIGN(norm.query_gain, read_gain(stack, row, at, query, ".weight"));
  ULLAGE_ASSIGN(norm.key_gain, read_gain(stack, row, source, key, ".weight"));
  ULLAGE_ASSIGN(norm.query_bias, read_gain(stack, row, at, query, ".bias"));
  ULLAGE_ASSIGN(norm.key_bias, read_gain(stack, row, source, key, ".bias"));
  if (row.plus_one)
    for (auto* gain : {&norm.query_gain, &norm.key_gain})
      for (double& value : *gain) value += 1;
  return norm;
}

}  // namespace ullage::checkpoint
