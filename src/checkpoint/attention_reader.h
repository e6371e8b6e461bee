// What the readers of one attention stack share: where it is, its shape, and small reads that check.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/architectures.h"
#include "ullage/base/result.h"
#include "ullage/checkpoint/architectures.h"
#include "ullage/checkpoint/config.h"
#include "ullage/checkpoint/store.h"

namespace ullage::checkpoint {

// One tower of a model: text, vision, or the only one.
struct Tower {
  const TensorStore& store;
  WeightOptions weights;
  Config config;     // its section
  std::string type;  // its model_type
  ClassDefaults defaults;
  bool two_way = false;  // tokens may see later ones though the row is causal
  std::vector<std::string>& assumptions;
};

// Wider inputs, and larger heads of q and k (whose Grams are held), than any model has.
inline constexpr std::uint64_t kMaxWidth = 1'000'000;
inline constexpr int kMaxQueryDim = 1024;

struct HeadShape {
  int heads = 0, kv_heads = 0, head_dim = 0;
  int width = 0;  // of the input
};

// A row found in the tensors of a tower.
struct Stack {
  const Tower& tower;
  const Row& row;
  std::string prefix;
  HeadShape shape;
  // Largest entries of tables of position biases that were read already: one may serve every layer.
  mutable std::map<const TensorInfo*, std::vector<double>> tables = {};
  mutable int last_memory = -1;  // the encoder's last layer, once it was looked for

  // "model.layers.3.", then a name.
  std::string name(int layer, int part, std::string_view rest = {}) const;
};

// ---- attention_reader.cc: small checked reads

Error mismatch(std::string what, std::string where, std::uint64_t expected, std::uint64_t found);
Error missing(const TensorStore& store, const std::string& name);
// An error where one of these keys is there and neither null nor an object: it would be passed over.
Status check_objects(const Config& config, std::initializer_list<std::string_view> keys);
Status check_query_dim(const TensorStore& store, const TensorInfo& tensor, int head_dim);

Result<bool> holds(const Config& config, const When& when);
// Booleans that some files write as numbers ("attn_temperature_tuning": 4).
Result<bool> truth(const Config& config, std::string_view key, bool absent);

// NAME.weight, or .gamma as files converted from TensorFlow spell a LayerNorm's; nullptr when absent.
const TensorInfo* find_weight(const TensorStore& store, const std::string& name);
// The first of "a|b|c" that the checkpoint has behind `prefix`.
const TensorInfo* find_weight(const TensorStore& store, const std::string& prefix,
                              std::string_view names);
// A rank-1 tensor of just `count` numbers.
Result<std::vector<double>> read_vector(const TensorStore& store, const TensorInfo& tensor,
                                        std::uint64_t count);

// ---- attention_names.cc: which layers the tensors' names tell of

struct LayerKey {
  int layer = 0, part = 0;
  auto operator<=>(const LayerKey&) const = default;
};
struct LayerGroup {
  std::string prefix;
  std::vector<LayerKey> layers;  // ascending
};
// stem with {i} and {j} filled in.
std::string expand(std::string_view stem, int layer, int part);
// Groups in order of prefix, of the keys PREFIX + stem + probe + ".weight".
Result<std::vector<LayerGroup>> find_layers(const TensorStore& store, std::string_view stem,
                                            std::string_view probe);
// The tensor by whose name a row's layers are found.
std::string_view probe_of(const Row& row);

// ---- attention_heads.cc: shapes and projections

// From config, class defaults and the shapes of `first`, a layer that exists.
Result<HeadShape> read_head_shape(const Tower& tower, const Row& row, const std::string& prefix,
                                  LayerKey first);
struct QueryKeyValue {
  Projection query, key, value;
};
// `memory_width`: of the key side's input.
// Keys and values may be those of another layer, `source`.
Result<QueryKeyValue> read_projections(const Stack& stack, LayerKey at, LayerKey source);
// One projection of `heads` heads of `rows` rows; `first_row(head)` in a tensor of `outputs` rows.
struct ProjectionPlan {
  std::string name;  // without ".weight"
  Layout layout = Layout::out_in;
  int heads = 0, rows = 0, width = 0;
  std::uint64_t outputs = 0;
  std::uint64_t first = 0, stride = 0;  // head h begins at first + stride h ...
  int group = 0;                        // ... or, with groups of this many heads,
  std::uint64_t group_stride = 0;       // at first + group_stride (h / group) + stride (h % group)
  std::string what;                     // how the expected number of rows comes about
};
Result<Projection> read_projection(const Tower& tower, const ProjectionPlan& plan);
Result<QkNorm> read_qk_norm(const Stack& stack, const QkNormRow& row, LayerKey at, LayerKey source);

// ---- attention_latent.cc

Status read_latent(const Stack& stack, LayerKey at, const InputNorm& block, AttentionLayer& layer);

// ---- attention_input.cc: what a layer reads

// Of layer `at`; a shared layer has one for each different layer before it.
Result<std::vector<InputNorm>> read_inputs(const Stack& stack, LayerKey at,
                                           const std::vector<LayerKey>& layers);
// The encoder states that a cross-attention reads.
Result<InputNorm> read_memory(const Stack& stack, int width);
Result<InputNorm> read_norm(const Tower& tower, const std::string& name, bool layer_norm,
                            bool plus_one, int width);

// ---- attention_rope.cc

// How the layers of a stack are turned. Lists in the config are read once, when opened.
class RopeReader {
 public:
  static Result<RopeReader> open(const Tower& tower, const Row& row);
  // `head_dim`: of the part of a head that RoPE sees.
  Result<Rope> read(int layer, int head_dim) const;
  bool turns(int layer) const;
  std::string_view type_of(
      int layer) const;  // "full_attention" and the like; empty: layers have no types
  // Of the section that counts: ministral3's factor on q grows with the position.
  struct Temperature {
    double beta = 0, floor = 1;
  };
  Result<Temperature> temperature() const;
  // The config has rope_scaling and rope_parameters.
  bool two_sections() const { return passed_over_.has_value(); }
  // LongRoPE: the angles are those of contexts up to the original one.
  bool short_factors() const { return short_factors_; }
  // M-RoPE: tokens of images have a time, a row and a column; the angles are those of text.
  bool several_axes() const { return several_axes_; }

 private:
  RopeReader(const Tower& tower, const Row& row) : tower_(&tower), row_(&row) {}
  Result<Rope> read_as(std::optional<Config> section, bool older, int layer, int head_dim) const;

  const Tower* tower_;
  const Row* row_;
  std::vector<std::string> types_;
  std::vector<bool> listed_;  // no_rope_layers
  int period_ = 0, no_rope_period_ = 0;
  std::string letters_;  // "LLLG"
  bool always_ = true;
  std::optional<Config> section_;      // rope_parameters, or what stands for it
  bool older_ = false;                 // section_ is rope_scaling
  std::optional<Config> passed_over_;  // rope_parameters beside rope_scaling
  bool short_factors_ = false, several_axes_ = false;
};
// What latent attention multiplies its scale by under YaRN.
Result<double> latent_scale_factor(const Tower& tower);

// ---- attention_bias.cc

Status read_position_bias(const Stack& stack, LayerKey at, AttentionLayer& layer);

// ---- attention_guess.cc

// Rows for a model type that the table lacks, by the tensors' names.
struct Guess {
  std::vector<Row> rows;
  std::string like;  // the model type it is read as
};
Result<Guess> guess_rows(const TensorStore& store, const Config& config, const std::string& type);

// ---- attention_stack.cc

// What holds for every layer of a row, under any prefix.
struct Common {
  RopeReader rope;
  double soft_cap = 0, clip = 0;
  bool qk_norm = false;
  bool temperature = false;
  double temperature_scale = 0, temperature_floor = 1;
  bool causal = false;
  std::uint64_t numbers = 0;  // of gains and biases read so far
};
Result<Common> read_common(const Tower& tower, const Row& row);

// All layers of one row under one prefix.
Result<std::vector<AttentionLayer>> read_stack(const Tower& tower, const Row& row,
                                               const LayerGroup& group, Common& common);

}  // namespace ullage::checkpoint
