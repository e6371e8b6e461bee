// Small checked reads that all readers of attention stacks use.
#include "checkpoint/attention_reader.h"

namespace ullage::checkpoint {

std::string Stack::name(int layer, int part, std::string_view rest) const {
  std::string text = prefix + expand(row.stem, layer, part);
  text += rest;
  return text;
}

Error mismatch(std::string what, std::string where, std::uint64_t expected, std::uint64_t found) {
  return {Code::config_mismatch, std::move(what), std::move(where), std::to_string(expected),
          std::to_string(found)};
}

Error missing(const TensorStore& store, const std::string& name) {
  if (const auto tensor = store.get(name); !tensor.ok()) return tensor.error();
  return {Code::tensor_missing, "the checkpoint has no such tensor", name, {}, {}};
}

Status check_objects(const Config& config, std::initializer_list<std::string_view> keys) {
  for (const std::string_view key : keys) {
    const Config::Kind kind = config.kind(key);
    if (kind == Config::Kind::absent || kind == Config::Kind::null || kind == Config::Kind::object)
      continue;
    return Error{Code::config_invalid,
                 config.path() + std::string(key) + " must be an object",
                 config.where(),
                 {},
                 {}};
  }
  return {};
}

Status check_query_dim(const TensorStore& store, const TensorInfo& tensor, int head_dim) {
  if (head_dim <= kMaxQueryDim) return {};
  return Error{Code::config_invalid, "the heads of queries and keys are larger than any model has",
               store.describe(tensor), "a head size of at most " + std::to_string(kMaxQueryDim),
               std::to_string(head_dim)};
}

Result<bool> truth(const Config& config, std::string_view key, bool absent) {
  switch (config.kind(key)) {
    case Config::Kind::absent:
    case Config::Kind::null:
      return absent;
    case Config::Kind::integer:
    case Config::Kind::number: {
      ULLAGE_ASSIGN(const auto number, config.optional_number(key));
      return number.value_or(0) != 0;
    }
    default: {
      ULLAGE_ASSIGN(const auto value, config.optional_boolean(key));
      return value.value_or(absent);
    }
  }
}

Result<bool> holds(const Config& config, const When& when) {
  if (when.key.empty()) return true;
  ULLAGE_ASSIGN(const bool value, truth(config, when.key, when.absent));
  return value == when.value;
}

const TensorInfo* find_weight(const TensorStore& store, const std::string& name) {
  for (const char* ending : {".weight", ".gamma"})
    if (const TensorInfo* tensor = store.find(name + ending)) return tensor;
  return nullptr;
}

const TensorInfo* find_weight(const TensorStore& store, const std::string& prefix,
                              std::string_view names) {
  while (!names.empty()) {
    const std::size_t bar = names.find('|');
    if (const auto* tensor = find_weight(store, prefix + std::string(names.substr(0, bar))))
      return tensor;
    if (bar == std::string_view::npos) break;
    names.remove_prefix(bar + 1);
  }
  return nullptr;
}

Result<std::vector<double>> read_vector(const TensorStore& store, const TensorInfo& tensor,
                                        std::uint64_t count) {
  if (tensor.shape.size() != 1 || tensor.shape[0] != count)
    return Error{Code::config_mismatch, "a vector of another length is needed here",
                 store.describe(tensor), "[" + std::to_string(count) + "]",
                 shape_text(tensor.shape)};
  std::vector<double> values(count);
  ULLAGE_TRY(read_elements(store, tensor, 0, std::span<double>(values)));
  return values;
}

}  // namespace ullage::checkpoint
