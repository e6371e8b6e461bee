// read_attention: from a model type to towers, from a tower to stacks, each by its rows of the table.
#include "ullage/checkpoint/attention.h"

#include <algorithm>

#include "checkpoint/attention_reader.h"
#include "ullage/base/text.h"

namespace ullage::checkpoint {
namespace {

constexpr std::string_view kTextSections =
    "text_config|llm_config|language_config|thinker_config.text_config";

constexpr std::size_t kMostAssumptions = 10;

enum class Side { only, text, vision };

bool of_other_tower(std::string_view prefix) {
  for (const char* mark : {"vision", "visual", "audio"})
    if (prefix.find(mark) != std::string_view::npos) return true;
  return false;
}

// Groups that are this tower's. A lone tower keeps all, but those of an unknown vision or audio part only
// when there is nothing else.
void keep_side(Side side, std::vector<LayerGroup>& groups) {
  const auto drop = [&](bool other) {
    std::erase_if(groups, [&](const LayerGroup& g) { return of_other_tower(g.prefix) == other; });
  };
  if (side == Side::text) drop(true);
  if (side == Side::vision) drop(false);
  if (side == Side::only && std::any_of(groups.begin(), groups.end(), [](const LayerGroup& group) {
        return !of_other_tower(group.prefix);
      }))
    drop(true);
}

std::string shown(std::string_view text) { return text.empty() ? "(none)" : escape_text(text, 60); }

Error nothing_found(const Tower& tower, const std::vector<const Row*>& rows) {
  std::string names;
  for (const Row* row : rows) {
    const std::string name = std::string(row->stem) + std::string(probe_of(*row)) + ".weight";
    if (names.find(name) == std::string::npos) names += (names.empty() ? "" : ", ") + name;
  }
  return {
      Code::nothing_to_scan, "no attention heads found: no tensor has a name that ends like these",
      "model_type " + tower.type, names, std::to_string(tower.store.tensors().size()) + " tensors"};
}

Status read_tower(const Tower& tower, const std::vector<const Row*>& rows, Side side,
                  std::vector<AttentionLayer>& layers) {
  const std::size_t before = layers.size();
  for (const Row* row : rows) {
    ULLAGE_ASSIGN(const bool on, holds(tower.config, row->when));
    if (!on) continue;
    ULLAGE_ASSIGN(std::vector<LayerGroup> groups,
                  find_layers(tower.store, row->stem, probe_of(*row)));
    keep_side(side, groups);
    // Of several parts with the same names one must fit; the others may be something else.
    std::optional<Error> first_error;
    bool fits = false;
    if (groups.empty()) continue;
    ULLAGE_ASSIGN(Common common, read_common(tower, *row));
    for (const LayerGroup& group : groups) {
      auto read = read_stack(tower, *row, group, common);
      if (read.ok()) {
        fits = true;
        std::move(read->begin(), read->end(), std::back_inserter(layers));
        continue;
      }
      if (groups.size() > 1)
        tower.assumptions.push_back("The layers under " + shown(group.prefix) +
                                    " are not scanned: " + read.error().message());
      if (!first_error) first_error = read.error();
    }
    if (first_error && !fits) return *first_error;
  }
  if (layers.size() == before) return nothing_found(tower, rows);
  return {};
}

Result<std::int64_t> read_max_positions(const Config& config) {
  constexpr IntegerRange kRange = {1, 1'000'000'000};
  constexpr std::string_view kKeys =
      "max_position_embeddings|n_positions|max_seq_len|max_sequence_length|n_ctx|seq_length";
  ULLAGE_ASSIGN(const auto usual, config.optional_integer(kKeys, kRange));
  if (usual) return *usual;
  ULLAGE_ASSIGN(const auto source, config.optional_integer("max_source_positions", kRange));
  ULLAGE_ASSIGN(const auto target, config.optional_integer("max_target_positions", kRange));
  return std::max(source.value_or(0), target.value_or(0));
}

struct Reader {
  const TensorStore& store;
  const Config& config;
  const WeightOptions& weights;
  AttentionModel model;

  Tower tower(const Config& section, std::string type) {
    const ClassDefaults& defaults = class_defaults(type);
    return {.store = store,
            .weights = weights,
            .config = section,
            .type = std::move(type),
            .defaults = defaults,
            .assumptions = model.assumptions};
  }

  // Text by its section, or by the top of older files that have none; vision by its own names.
  Status read_wrapper(const Wrapper& wrapper) {
    const Config text = config.section(kTextSections).value_or(config);
    ULLAGE_ASSIGN(auto stated, text.optional_string("model_type"));
    std::string type = stated && *stated != wrapper.type ? *stated : std::string(wrapper.text);
    Tower text_tower = tower(text, type);
    text_tower.two_way = wrapper.two_way_text;
    std::vector<const Row*> rows = rows_for(type);
    Guess guess;
    if (rows.empty()) {
      ULLAGE_ASSIGN(guess, guess_rows(store, text, type));
      assume_guess(guess, type);
      for (const Row& row : guess.rows) rows.push_back(&row);
    }
    ULLAGE_TRY(read_tower(text_tower, rows, Side::text, model.layers));
    if (!guess.rows.empty()) mark_guessed(type);
    ULLAGE_ASSIGN(model.max_positions, read_max_positions(text));
    const Status vision = read_vision(wrapper);
    if (!vision.ok() && wrapper.both_required) return vision.error();
    if (!vision.ok())
      model.assumptions.push_back("The vision tower is not scanned: " + vision.error().message());
    return {};
  }

  // Without vision_config there must be no vision tower.
  Status check_no_vision(const Wrapper& wrapper) {
    for (const Row* row : rows_for(wrapper.vision)) {
      ULLAGE_ASSIGN(std::vector<LayerGroup> groups, find_layers(store, row->stem, probe_of(*row)));
      keep_side(Side::vision, groups);
      if (!groups.empty())
        return Error{Code::config_invalid, "the config does not describe the vision tower",
                     config.where() + ": vision_config", "its heads", "nothing"};
    }
    return {};
  }

  Status read_vision(const Wrapper& wrapper) {
    const auto section = config.section("vision_config");
    if (!section) return check_no_vision(wrapper);
    ULLAGE_ASSIGN(const auto stated, section->optional_string("model_type"));
    const std::string type =
        stated && *stated != wrapper.type ? *stated : std::string(wrapper.vision);
    const std::vector<const Row*> rows = rows_for(type);
    if (rows.empty())
      return Error{
          Code::architecture_unknown, "its model_type is not known", "vision_config", {}, type};
    const std::size_t before = model.layers.size();
    const Status status = read_tower(tower(*section, type), rows, Side::vision, model.layers);
    if (!status.ok()) model.layers.resize(before);
    return status;
  }

  void assume_guess(const Guess& guess, const std::string& type) {
    model.assumptions.push_back("model_type " + shown(type) +
                                " is not known; by the names of its tensors it is read like " +
                                guess.like +
                                ". Its figures are estimates: no certificate is given.");
    const Row& row = guess.rows.front();
    if (row.rope == RopePairing::unknown)
      model.assumptions.push_back(
          "Rotary position embeddings are assumed, and which coordinates they pair is not known: "
          "estimates take pairs half a head apart.");
    else if (row.rope == RopePairing::none)
      model.assumptions.push_back("No rotary position embeddings are assumed.");
    model.assumptions.push_back(
        "The gains of norms are taken as stored, the score scale as 1 / sqrt(head size) unless "
        "that architecture has another.");
    if (row.fused.size() > 0)
      model.assumptions.push_back("The order of q, k and v in " + std::string(row.fused) +
                                  " is assumed.");
    if (row.qk_norm)
      model.assumptions.push_back("Queries and keys are assumed to be normed before any rotation.");
  }

  // What is read so far is of a model type that the table lacks: a certificate would be of one reading.
  void mark_guessed(const std::string& type) {
    for (AttentionLayer& layer : model.layers)
      layer.guessed = "model_type " + shown(type) +
                      " is not known: which norm, gain and scale its scores have is a guess";
  }

  // The rows for BERT and GPT-2 are of their self-attention.
  void say_cross_attention() {
    const auto unread = [](const TensorInfo& tensor) {
      return tensor.name.find(".crossattention.") != std::string_view::npos;
    };
    if (std::any_of(store.tensors().begin(), store.tensors().end(), unread))
      model.assumptions.push_back(
          "The checkpoint has cross-attention (crossattention.*), which is not scanned.");
  }

  void cut_assumptions() {
    std::vector<std::string>& list = model.assumptions;
    if (list.size() <= kMostAssumptions) return;
    const std::size_t more = list.size() - kMostAssumptions;
    list.resize(kMostAssumptions);
    list.push_back(std::to_string(more) + " more like these are left out.");
  }

  Status read() {
    ULLAGE_TRY(check_objects(config, {"text_config", "llm_config", "language_config",
                                      "vision_config", "quantization_config"}));
    ULLAGE_ASSIGN(const auto stated, config.optional_string("model_type"));
    const std::string type = stated.value_or("");
    model.model_type = type;
    if (without_attention(type))
      return Error{Code::nothing_to_scan,
                   "this architecture has no attention heads",
                   "model_type " + type,
                   {},
                   {}};
    if (const Wrapper* wrapper = find_wrapper(type)) return read_wrapper(*wrapper);
    std::vector<const Row*> rows = rows_for(type);
    if (!rows.empty()) {
      ULLAGE_TRY(read_tower(tower(config, type), rows, Side::only, model.layers));
      ULLAGE_ASSIGN(model.max_positions, read_max_positions(config));
      return {};
    }
    // An unknown model around a text model that may be known.
    if (const auto text = config.section(kTextSections)) {
      ULLAGE_ASSIGN(const auto inner, text->optional_string("model_type"));
      if (inner && !rows_for(*inner).empty()) {
        model.assumptions.push_back("model_type " + shown(type) +
                                    " is not known; its text tower is read as " + *inner + ".");
        return read_wrapper({.type = type, .text = *inner});
      }
    }
    ULLAGE_ASSIGN(const Guess guess, guess_rows(store, config, type));
    assume_guess(guess, type);
    for (const Row& row : guess.rows) rows.push_back(&row);
    ULLAGE_TRY(read_tower(tower(config, type), rows, Side::only, model.layers));
    mark_guessed(type);
    ULLAGE_ASSIGN(model.max_positions, read_max_positions(config));
    return {};
  }
};

}  // namespace

Result<AttentionModel> read_attention(const TensorStore& store, const Config& config,
                                      const WeightOptions& weights) {
  Reader reader = {.store = store, .config = config, .weights = weights, .model = {}};
  ULLAGE_TRY(reader.read());
  reader.say_cross_attention();
  reader.cut_assumptions();
  return std::move(reader.model);
}

}  // namespace ullage::checkpoint
