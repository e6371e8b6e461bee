// Heads and their shapes: what config.json says, what the tensors have, and where each head's rows lie.
#include "checkpoint/attention_reader.h"

namespace ullage::checkpoint {
namespace {

std::string with_usual(std::string_view own, std::string_view usual) {
  return own.empty() ? std::string(usual) : std::string(own) + "|" + std::string(usual);
}

WeightOptions storage_of(const Tower& tower, const Row& row) {
  WeightOptions options = tower.weights;
  options.layout = row.conv1d ? Layout::in_out : Layout::out_in;
  return options;
}

struct Matrix {
  const TensorInfo* tensor = nullptr;
  std::uint64_t outputs = 0, inputs = 0;
};

Result<Matrix> find_matrix(const Tower& tower, const std::string& name,
                           const WeightOptions& storage) {
  const TensorInfo* tensor = tower.store.find(name + ".weight");
  if (tensor == nullptr) return missing(tower.store, name + ".weight");
  ULLAGE_ASSIGN(const WeightMatrix matrix, WeightMatrix::open(tower.store, *tensor, storage));
  return Matrix{tensor, matrix.outputs(), matrix.inputs()};
}

// "num_attention_heads 8 x head_dim 16", for messages.
std::string product_text(const HeadShape& shape, bool fused) {
  if (fused)
    return "(" + std::to_string(shape.heads) + " heads + 2 x " + std::to_string(shape.kv_heads) +
           " key and value heads) x head size " + std::to_string(shape.head_dim);
  return std::to_string(shape.heads) + " heads x head size " + std::to_string(shape.head_dim);
}

std::uint64_t query_rows(const Row& row, const HeadShape& shape) {
  const std::uint64_t d = shape.head_dim;
  if (!row.fused.empty()) return (shape.heads + 2ull * shape.kv_heads) * d;
  return shape.heads * d * (row.gated_query ? 2 : 1);
}

// Numbers of kv heads that the row, the config or its class allow; the shapes decide between several.
Result<std::vector<int>> kv_candidates(const Tower& tower, const Row& row, int heads) {
  const Config& config = tower.config;
  const auto all = std::vector<int>{heads};
  if (row.kv == KvRule::all) return all;
  if (row.kv == KvRule::falcon) {
    // The first Falcon-40B files say n_head_kv and nothing else.
    const bool older = tower.type != "falcon" && config.has("n_head_kv");
    ULLAGE_ASSIGN(const bool grouped, truth(config, "new_decoder_architecture", older));
    ULLAGE_ASSIGN(const bool single, truth(config, "multi_query", true));
    if (!grouped) return single ? std::vector<int>{1} : all;
  }
  if (row.kv == KvRule::bigcode) {
    ULLAGE_ASSIGN(const bool single, truth(config, "multi_query", true));
    return single ? std::vector<int>{1} : all;
  }
  ULLAGE_ASSIGN(const auto stated, config.optional_integer(kKvHeadsKeys, {1, kMaxHeads}));
  if (stated) {
    if (*stated > heads || heads % *stated != 0)
      return mismatch("the number of key and value heads (" + config.found_key(kKvHeadsKeys) +
                          ") does not divide the number of attention heads",
                      config.where(), static_cast<std::uint64_t>(heads),
                      static_cast<std::uint64_t>(*stated));
    return std::vector<int>{static_cast<int>(*stated)};
  }
  const int usual = tower.defaults.kv_heads;
  if (config.kind(kKvHeadsKeys) == Config::Kind::absent && usual > 0 && usual < heads &&
      heads % usual == 0)
    return std::vector<int>{usual, heads};
  return all;
}

// Head sizes likewise.
Result<std::vector<int>> head_dim_candidates(const Tower& tower, const Row& row, int heads,
                                             std::int64_t hidden) {
  const Config& config = tower.config;
  const std::string keys = with_usual(row.head_dim_key, kHeadDimKeys);
  ULLAGE_ASSIGN(const auto stated, config.optional_integer(keys, {1, kMaxHeadDim}));
  if (stated) return std::vector<int>{static_cast<int>(*stated)};
  std::vector<int> candidates;
  if (config.kind(keys) == Config::Kind::absent && tower.defaults.head_dim > 0)
    candidates.push_back(tower.defaults.head_dim);
  if (hidden > 0 && hidden % heads == 0 && hidden / heads <= kMaxHeadDim)
    candidates.push_back(static_cast<int>(hidden / heads));
  if (!candidates.empty()) return candidates;
  if (hidden == 0)
    return config.integer(with_usual(row.hidden_key, kHiddenKeys)).error();  // says what is missing
  return mismatch(
      "the hidden size is not a multiple of the number of attention heads, and there "
      "is no head_dim",
      config.where(), static_cast<std::uint64_t>(heads), static_cast<std::uint64_t>(hidden));
}

Result<int> read_heads_count(const Tower& tower, const Row& row, std::uint64_t rows) {
  const Config& config = tower.config;
  const std::string keys = with_usual(row.heads_key, kHeadsKeys);
  ULLAGE_ASSIGN(const auto stated, config.optional_integer(keys, {1, kMaxHeads}));
  if (stated) return static_cast<int>(*stated);
  if (tower.defaults.heads > 0) return tower.defaults.heads;
  // A known head size and the rows of q give the number of heads.
  ULLAGE_ASSIGN(const auto size, config.optional_integer(with_usual(row.head_dim_key, kHeadDimKeys),
                                                         {1, kMaxHeadDim}));
  const std::uint64_t unit = size ? static_cast<std::uint64_t>(*size) : 0;
  if (row.fused.empty() && !row.gated_query && row.latent == nullptr && unit > 0 &&
      rows % unit == 0 && rows / unit >= 1 && rows / unit <= kMaxHeads)
    return static_cast<int>(rows / unit);
  return config.integer(keys, {1, kMaxHeads}).error();
}

}  // namespace

Result<HeadShape> read_head_shape(const Tower& tower, const Row& row, const std::string& prefix,
                                  LayerKey first) {
  const std::string base = prefix + expand(row.stem, first.layer, first.part);
  const std::string name = base + std::string(probe_of(row));
  ULLAGE_ASSIGN(const Matrix query, find_matrix(tower, name, storage_of(tower, row)));
  HeadShape shape;
  ULLAGE_ASSIGN(const auto hidden,
                tower.config.optional_integer(with_usual(row.hidden_key, kHiddenKeys)));
  if (hidden && static_cast<std::uint64_t>(*hidden) != query.inputs)
    return mismatch("the hidden size of config.json is not the width of the attention heads' input",
                    tower.store.describe(*query.tensor), static_cast<std::uint64_t>(*hidden),
                    query.inputs);
  if (query.inputs == 0 || query.inputs > kMaxWidth)
    return mismatch("the width of the attention heads' input is out of range",
                    tower.store.describe(*query.tensor), kMaxWidth, query.inputs);
  shape.width = static_cast<int>(query.inputs);
  ULLAGE_ASSIGN(shape.heads, read_heads_count(tower, row, query.outputs));
  if (row.latent != nullptr) {
    shape.kv_heads = shape.heads;
    return shape;
  }
  if (row.layout == Fused::codegen && shape.heads % 4 != 0)
    return mismatch(
        "the number of attention heads is not a multiple of the four slabs that q, k and v "
        "are stored in",
        tower.config.where(), 4, static_cast<std::uint64_t>(shape.heads));
  ULLAGE_ASSIGN(const auto kv_heads, kv_candidates(tower, row, shape.heads));
  ULLAGE_ASSIGN(const auto sizes, head_dim_candidates(tower, row, shape.heads, hidden.value_or(0)));
  Matrix key;
  if (row.fused.empty()) {
    ULLAGE_ASSIGN(key, find_matrix(tower, base + std::string(row.key), storage_of(tower, row)));
  }
  for (const int size : sizes) {
    for (const int kv : kv_heads) {
      shape.head_dim = size;
      shape.kv_heads = kv;
      const bool key_fits =
          key.tensor == nullptr || key.outputs == static_cast<std::uint64_t>(kv) * size;
      if (query.outputs != query_rows(row, shape) || !key_fits) continue;
      ULLAGE_TRY(check_query_dim(tower.store, *query.tensor, size));
      return shape;
    }
  }
  shape.head_dim = sizes.front();
  shape.kv_heads = kv_heads.front();
  if (query.outputs != query_rows(row, shape))
    return mismatch("config.json's heads do not fit this tensor's rows: " +
                        product_text(shape, !row.fused.empty()),
                    tower.store.describe(*query.tensor), query_rows(row, shape), query.outputs);
  return mismatch("config.json's key and value heads do not fit this tensor's rows: " +
                      std::to_string(shape.kv_heads) + " heads x head size " +
                      std::to_string(shape.head_dim),
                  tower.store.describe(*key.tensor),
                  static_cast<std::uint64_t>(shape.kv_heads) * shape.head_dim, key.outputs);
}

Result<Projection> read_projection(const Tower& tower, const ProjectionPlan& plan) {
  WeightOptions storage = tower.weights;
  storage.layout = plan.layout;
  ULLAGE_ASSIGN(const Matrix matrix, find_matrix(tower, plan.name, storage));
  if (matrix.outputs != plan.outputs)
    return mismatch("config.json's heads do not fit this tensor's rows: " + plan.what,
                    tower.store.describe(*matrix.tensor), plan.outputs, matrix.outputs);
  if (matrix.inputs != static_cast<std::uint64_t>(plan.width))
    return mismatch("the width of this tensor is not that of what its heads read",
                    tower.store.describe(*matrix.tensor), static_cast<std::uint64_t>(plan.width),
                    matrix.inputs);
  Projection projection;
  projection.weight = matrix.tensor;
  projection.storage = storage;
  projection.heads = plan.heads;
  projection.rows = plan.rows;
  projection.width = plan.width;
  projection.first_row.reserve(plan.heads);
  for (std::uint64_t head = 0; head < static_cast<std::uint64_t>(plan.heads); ++head)
    projection.first_row.push_back(plan.group == 0
                                       ? plan.first + plan.stride * head
                                       : plan.first + plan.group_stride * (head / plan.group) +
                                             plan.stride * (head % plan.group));
  const TensorInfo* bias = tower.store.find(plan.name + ".bias");
  if (bias == nullptr) return projection;
  ULLAGE_ASSIGN(const std::vector<double> all, read_vector(tower.store, *bias, plan.outputs));
  projection.bias_name = bias->name;
  projection.bias.reserve(static_cast<std::size_t>(plan.heads) * plan.rows);
  for (const std::uint64_t row : projection.first_row)
    projection.bias.insert(projection.bias.end(), all.begin() + static_cast<std::ptrdiff_t>(row),
                           all.begin() + static_cast<std::ptrdiff_t>(row + plan.rows));
  return projection;
}

Result<QueryKeyValue> read_projections(const Stack& stack, LayerKey at, LayerKey source) {
  const Row& row = stack.row;
  const HeadShape& shape = stack.shape;
  const std::uint64_t d = shape.head_dim, heads = shape.heads, kv = shape.kv_heads;
  ProjectionPlan query = {.name = stack.name(at.layer, at.part, probe_of(row)),
                          .layout = row.conv1d ? Layout::in_out : Layout::out_in,
                          .heads = shape.heads,
                          .rows = shape.head_dim,
                          .width = shape.width,
                          .outputs = query_rows(row, shape),
                          .stride = d,
                          .what = product_text(shape, !row.fused.empty())};
  ProjectionPlan key = query;
  key.heads = shape.kv_heads;
  ProjectionPlan value = key;
  switch (row.layout) {
    case Fused::separate: {
      query.stride = row.gated_query ? 2 * d : d;
      key.name = stack.name(source.layer, source.part, row.key);
      key.outputs = kv * d;
      key.what = std::to_string(kv) + " key and value heads x head size " + std::to_string(d);
      value.name = stack.name(source.layer, source.part, row.value);
      ULLAGE_ASSIGN(const Matrix matrix,
                    find_matrix(stack.tower, value.name, storage_of(stack.tower, row)));
      if (matrix.outputs == 0 || matrix.outputs % kv != 0 || matrix.outputs / kv > kMaxHeadDim)
        return mismatch("the rows of the values are not a multiple of the key and value heads",
                        stack.tower.store.describe(*matrix.tensor), kv, matrix.outputs);
      value.outputs = matrix.outputs;
      value.stride = matrix.outputs / kv;
      value.rows = static_cast<int>(value.stride);
      if (row.cross) {  // the encoder may be of another width; its last norm is checked against it
        ULLAGE_ASSIGN(const Matrix memory,
                      find_matrix(stack.tower, key.name, storage_of(stack.tower, row)));
        if (memory.inputs == 0 || memory.inputs > kMaxWidth)
          return mismatch("the width of the encoder states is out of range",
                          stack.tower.store.describe(*memory.tensor), kMaxWidth, memory.inputs);
        key.width = value.width = static_cast<int>(memory.inputs);
      }
      break;
    }
    case Fused::blocks:
      key.first = heads * d;
      value.first = (heads + kv) * d;
      break;
    case Fused::per_group: {
      const std::uint64_t group = heads / kv;
      query.group = static_cast<int>(group);
      query.group_stride = key.stride = value.stride = (group + 2) * d;
      key.first = group * d;
      value.first = (group + 1) * d;
      break;
    }
    case Fused::codegen: {
      const std::uint64_t quarter = heads / 4;
      for (ProjectionPlan* plan : {&query, &key, &value}) {
        plan->group = static_cast<int>(quarter);
        plan->group_stride = 3 * quarter * d;
      }
      value.first = quarter * d;
      key.first = 2 * quarter * d;
      break;
    }
  }
  QueryKeyValue read;
  ULLAGE_ASSIGN(read.query, read_projection(stack.tower, query));
  ULLAGE_ASSIGN(read.key, read_projection(stack.tower, key));
  ULLAGE_ASSIGN(read.value, read_projection(stack.tower, value));
  return read;
}

}  // namespace ullage::checkpoint
