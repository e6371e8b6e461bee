// Rotary position embeddings: which layers have them, what turns, and by which angles.
//
// Sources: RoFormer (arXiv 2104.09864), YaRN (2309.00071), LongRoPE (2402.13753), Llama 3.1's published
// scaling; formulas as transformers 5.23 computes them (modeling_rope_utils).
#include <algorithm>
#include <cmath>
#include <numbers>

#include "checkpoint/attention_reader.h"

namespace ullage::checkpoint {
namespace {

constexpr double kUsualTheta = 10000;

// Numbers of a rope section; keys that only the top of the config has are looked up there.
struct Parameters {
  const Config* section;  // nullptr: nothing is said
  const Config* top;

  Result<std::optional<double>> number(std::string_view key) const {
    if (section != nullptr && section->has(key)) return section->optional_number(key);
    return std::optional<double>();
  }
  Result<std::optional<double>> number_or_top(std::string_view key) const {
    ULLAGE_ASSIGN(const auto own, number(key));
    if (own) return own;
    return top->optional_number(key);
  }
  // As number(), but an error when absent or not positive.
  Result<double> positive(std::string_view key) const {
    ULLAGE_ASSIGN(const auto value, number_or_top(key));
    if (value && *value > 0) return *value;
    return Error{Code::config_invalid, "RoPE scaling of this type needs a positive number here",
                 top->where() + ": " + std::string(key), "above 0",
                 value ? std::to_string(*value) : "nothing"};
  }
};

enum class Scaling { none, dynamic, linear, llama3, yarn, longrope };

// Older files say "type" and know other names.
constexpr std::pair<std::string_view, Scaling> kScalings[] = {
    {"default", Scaling::none}, {"dynamic", Scaling::dynamic},   {"mrope", Scaling::none},
    {"axial", Scaling::none},   {"linear", Scaling::linear},     {"llama3", Scaling::llama3},
    {"yarn", Scaling::yarn},    {"longrope", Scaling::longrope}, {"su", Scaling::longrope},
};

Result<Scaling> scaling_of(const Parameters& parameters) {
  if (parameters.section == nullptr) return Scaling::none;
  ULLAGE_ASSIGN(const auto type, parameters.section->optional_string("rope_type|type"));
  if (!type) return Scaling::none;
  for (const auto& [name, scaling] : kScalings)
    if (*type == name) return scaling;
  return Error{Code::config_invalid, "this type of RoPE scaling is not known",
               parameters.section->where() + ": rope_type",
               "default, linear, dynamic, llama3, yarn or longrope", *type};
}

// The trained context. phi3 writes it beside the section, where transformers looks first; a file that has
// two different ones may be read either way. 0: none is given.
struct TrainedContext {
  double context = 0, other = 0;
  double least() const { return std::min(context, other); }
};

Result<TrainedContext> trained_context(const Parameters& parameters) {
  constexpr std::string_view kKey = "original_max_position_embeddings";
  ULLAGE_ASSIGN(const auto own, parameters.number(kKey));
  ULLAGE_ASSIGN(const auto top, parameters.top->optional_number(kKey));
  for (const auto& value : {own, top})
    if (value && !(*value > 0))
      return Error{Code::config_invalid, "the trained context must be positive",
                   parameters.top->where() + ": " + std::string(kKey), "above 0",
                   std::to_string(*value)};
  const double first = top ? *top : own.value_or(0);
  return TrainedContext{first, own.value_or(first)};
}

// The same, and an error where none is given.
Result<TrainedContext> needed_context(const Parameters& parameters) {
  ULLAGE_ASSIGN(const TrainedContext trained, trained_context(parameters));
  if (trained.context > 0) return trained;
  return parameters.positive("original_max_position_embeddings").error();
}

// The frequencies hold up to `context`; never, where a file has two trained contexts.
void hold_until(Rope& rope, const TrainedContext& trained, double context) {
  rope.angles_until = trained.context == trained.other ? context : 0;
}

// YaRN's m(factor).
double attention_scale(double factor, double weight = 1) {
  return factor <= 1 ? 1 : 0.1 * weight * std::log(factor) + 1;
}

// Long wavelengths are stretched by the factor, short ones kept, those between blended.
Status scale_llama3(Rope& rope, const Parameters& parameters) {
  ULLAGE_ASSIGN(const double factor, parameters.positive("factor"));
  ULLAGE_ASSIGN(const double low, parameters.positive("low_freq_factor"));
  ULLAGE_ASSIGN(const double high, parameters.positive("high_freq_factor"));
  ULLAGE_ASSIGN(const TrainedContext trained, needed_context(parameters));
  hold_until(rope, trained, rope.angles_until);
  const double old = trained.context;
  for (double& frequency : rope.inverse_frequency) {
    const double wavelength = 2 * std::numbers::pi / frequency;
    if (wavelength > old / low) {
      frequency /= factor;
    } else if (wavelength >= old / high) {
      const double smooth = (old / wavelength - low) / (high - low);
      frequency = (1 - smooth) * frequency / factor + smooth * frequency;
    }
  }
  return {};
}

Status scale_yarn(Rope& rope, const Parameters& parameters, double theta) {
  ULLAGE_ASSIGN(const double factor, parameters.positive("factor"));
  ULLAGE_ASSIGN(const auto given, parameters.number("attention_factor"));
  ULLAGE_ASSIGN(const auto mscale, parameters.number("mscale"));
  ULLAGE_ASSIGN(const auto mscale_all, parameters.number("mscale_all_dim"));
  if (given) {
    rope.attention_factor = *given;
  } else if (mscale.value_or(0) != 0 && mscale_all.value_or(0) != 0) {
    rope.attention_factor = attention_scale(factor, *mscale) / attention_scale(factor, *mscale_all);
  } else {
    rope.attention_factor = attention_scale(factor);
  }
  ULLAGE_ASSIGN(const TrainedContext trained, trained_context(parameters));
  hold_until(rope, trained, rope.angles_until);
  double old = trained.context;
  if (!(old > 0)) {
    ULLAGE_ASSIGN(old, parameters.positive("max_position_embeddings"));
  }
  ULLAGE_ASSIGN(const auto fast, parameters.number("beta_fast"));
  ULLAGE_ASSIGN(const auto slow, parameters.number("beta_slow"));
  ULLAGE_ASSIGN(const bool truncate, truth(*parameters.section, "truncate", true));
  const double n = rope.rotary_dim;
  const auto correction = [&](double turns) {
    return n * std::log(old / (turns * 2 * std::numbers::pi)) / (2 * std::log(theta));
  };
  const auto or_usual = [](std::optional<double> value, double usual) {
    return value && *value != 0 ? *value : usual;
  };
  double low = correction(or_usual(fast, 32)), high = correction(or_usual(slow, 1));
  if (truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, n - 1);
  if (low == high) high += 0.001;
  for (std::size_t pair = 0; pair < rope.inverse_frequency.size(); ++pair) {
    const double ramp = std::clamp((static_cast<double>(pair) - low) / (high - low), 0.0, 1.0);
    double& frequency = rope.inverse_frequency[pair];
    frequency = frequency / factor * ramp + frequency * (1 - ramp);
  }
  return {};
}

// The short factors, which hold up to the trained context. The attention factor is the largest that a loader
// may take: phimoe has one for each set of factors, the others ignore those.
Status scale_longrope(Rope& rope, const Parameters& parameters) {
  ULLAGE_ASSIGN(const TrainedContext trained, needed_context(parameters));
  hold_until(rope, trained, trained.context);
  ULLAGE_ASSIGN(const auto given, parameters.number("attention_factor"));
  ULLAGE_ASSIGN(const auto short_scale, parameters.number("short_mscale"));
  ULLAGE_ASSIGN(const auto long_scale, parameters.number("long_mscale"));
  ULLAGE_ASSIGN(const auto stated, parameters.number("factor"));
  double factor = stated.value_or(0);
  if (factor == 0) {
    ULLAGE_ASSIGN(const double longest, parameters.positive("max_position_embeddings"));
    factor = longest / trained.least();
  }
  const double computed =
      factor <= 1 ? 1 : std::sqrt(1 + std::log(factor) / std::log(trained.least()));
  rope.attention_factor = given.value_or(computed);
  for (const auto& scale : {short_scale, long_scale})
    rope.attention_factor = std::max(rope.attention_factor, scale.value_or(0));
  ULLAGE_ASSIGN(const auto factors, parameters.section->numbers("short_factor"));
  if (factors.size() != rope.inverse_frequency.size())
    return mismatch("short_factor does not have one number for each rotated pair",
                    parameters.top->where(), rope.inverse_frequency.size(), factors.size());
  for (std::size_t pair = 0; pair < factors.size(); ++pair)
    rope.inverse_frequency[pair] /= factors[pair];
  return {};
}

// What the config class assumes where a file says nothing on RoPE.
Result<std::optional<Config>> class_section(const Tower& tower) {
  const Config& config = tower.config;
  const bool silent = config.kind("rope_parameters|rope_scaling") == Config::Kind::absent &&
                      !config.has("rope_theta|global_rope_theta|rope_local_base_freq");
  if (!silent || tower.defaults.rope_parameters.empty()) return std::optional<Config>();
  ULLAGE_ASSIGN(Config section,
                Config::parse(std::string(tower.defaults.rope_parameters), config.where()));
  return std::optional<Config>(std::move(section));
}

}  // namespace

Result<RopeReader> RopeReader::open(const Tower& tower, const Row& row) {
  const Config& config = tower.config;
  RopeReader reader(tower, row);
  if (row.rope == RopePairing::none) return reader;
  ULLAGE_TRY(check_objects(config, {"rope_scaling", "rope_parameters"}));
  ULLAGE_ASSIGN(reader.types_, config.strings("layer_types"));
  reader.period_ = row.pattern.period;
  if (!row.pattern.key.empty()) {
    if (config.kind(row.pattern.key) == Config::Kind::string) {  // exaone4: "LLLG"
      ULLAGE_ASSIGN(reader.letters_, config.string(row.pattern.key));
    } else {
      // exaone4 without windows says 0: no layer has a type.
      const bool no_types = row.no_rope == NoRope::if_windowed && !config.has("sliding_window");
      ULLAGE_ASSIGN(const auto period,
                    config.optional_integer(row.pattern.key, {no_types ? 0 : 1, kMaxLayers}));
      if (period) reader.period_ = static_cast<int>(*period);
    }
  }
  switch (row.no_rope) {
    case NoRope::never:
      break;
    case NoRope::full_layers:
      reader.always_ = false;
      break;
    case NoRope::if_windowed:
      reader.always_ = !config.has("sliding_window");
      break;
    case NoRope::other_encoding: {
      ULLAGE_ASSIGN(const auto encoding, config.optional_string("position_embedding_type"));
      if (encoding && *encoding != "rotary") reader.no_rope_period_ = 1;
      break;
    }
    case NoRope::listed: {
      ULLAGE_ASSIGN(const auto listed, config.integers("no_rope_layers", {0, 1}));
      reader.listed_.assign(listed.begin(), listed.end());
      ULLAGE_ASSIGN(const auto period,
                    config.optional_integer("no_rope_layer_interval", {1, kMaxLayers}));
      reader.no_rope_period_ = static_cast<int>(period.value_or(4));
      break;
    }
  }
  // transformers 5 writes rope_parameters, and takes rope_scaling where a file has both.
  reader.section_ = config.section("rope_parameters");
  reader.older_ = !reader.section_;
  if (auto scaling = config.section("rope_scaling"); scaling && !scaling->keys().empty()) {
    reader.passed_over_ = std::move(reader.section_);
    reader.section_ = std::move(scaling);
    reader.older_ = true;
  }
  if (!reader.section_) {
    ULLAGE_ASSIGN(reader.section_, class_section(tower));
    if (reader.section_) reader.older_ = false;
  }
  if (reader.section_) {
    ULLAGE_ASSIGN(const Scaling scaling, scaling_of({&*reader.section_, &config}));
    reader.short_factors_ = scaling == Scaling::longrope;
    reader.several_axes_ = reader.section_->has("mrope_section");
  }
  return reader;
}

std::string_view RopeReader::type_of(int layer) const {
  const std::size_t at = static_cast<std::size_t>(layer);
  constexpr std::string_view kFull = "full_attention", kSliding = "sliding_attention";
  if (at < types_.size()) return types_[at];
  if (!letters_.empty()) return letters_[at % letters_.size()] == 'L' ? kSliding : kFull;
  if (period_ == 0) return {};
  return layer % period_ == (row_->pattern.first ? 0 : period_ - 1) ? kFull : kSliding;
}

bool RopeReader::turns(int layer) const {
  if (row_->rope == RopePairing::none) return false;
  if (static_cast<std::size_t>(layer) < listed_.size()) return listed_[layer];
  if (no_rope_period_ > 0 && (layer + 1) % no_rope_period_ == 0) return false;
  return always_ || type_of(layer) == "sliding_attention";
}

Result<Rope> RopeReader::read(int layer, int head_dim) const {
  ULLAGE_ASSIGN(Rope rope, read_as(section_, older_, layer, head_dim));
  if (several_axes_) rope.angles_until = 0;
  if (!passed_over_) return rope;
  ULLAGE_ASSIGN(const Rope other, read_as(passed_over_, false, layer, head_dim));
  rope.attention_factor = std::max(rope.attention_factor, other.attention_factor);
  rope.angles_until = 0;
  return rope;
}

Result<Rope> RopeReader::read_as(std::optional<Config> section, bool older, int layer,
                                 int head_dim) const {
  Rope rope;
  if (!turns(layer)) return rope;
  const Config& config = tower_->config;
  const std::string_view type = type_of(layer);
  std::string_view theta_key = "rope_theta|rotary_emb_base|attn_config.rope_theta";
  if (section && !type.empty())
    if (auto own = section->section(type)) section = std::move(own);
  // Before transformers 5 two models gave their sliding layers a theta of their own, never scaled.
  if (older && type == "sliding_attention" && config.has("rope_local_base_freq|local_rope_theta")) {
    section.reset();
    theta_key = "rope_local_base_freq|local_rope_theta";
  } else if (config.has("global_rope_theta")) {
    theta_key = "global_rope_theta";
  }
  const Parameters parameters = {section ? &*section : nullptr, &config};

  ULLAGE_ASSIGN(auto theta, parameters.number("rope_theta"));
  if (!theta) {
    ULLAGE_ASSIGN(theta, config.optional_number(theta_key));
  }
  double base =
      theta.value_or(tower_->defaults.rope_theta > 0 ? tower_->defaults.rope_theta : kUsualTheta);
  if (row_->rotary == Rotary::count) base = kUsualTheta;
  if (!(base > 0))
    return Error{Code::config_invalid, "the base of RoPE's angles must be positive",
                 config.where() + ": rope_theta", "above 0", std::to_string(base)};

  rope.pairing = row_->rope;
  rope.rotary_dim = head_dim;
  if (row_->latent != nullptr) {
    ULLAGE_ASSIGN(const bool interleaved, truth(config, "rope_interleave", true));
    if (!interleaved) rope.pairing = RopePairing::half_split;
  } else if (row_->rotary == Rotary::count) {
    ULLAGE_ASSIGN(const auto count, config.optional_integer("rotary_dim", {0, kMaxHeadDim}));
    if (count.value_or(0) != 0) rope.rotary_dim = static_cast<int>(*count);
  } else if (row_->rotary == Rotary::fraction) {
    ULLAGE_ASSIGN(auto fraction, parameters.number("partial_rotary_factor"));
    if (!fraction) {
      ULLAGE_ASSIGN(fraction, config.optional_number("partial_rotary_factor|rotary_pct"));
    }
    ULLAGE_ASSIGN(const auto count, config.optional_integer("rotary_dim", {1, kMaxHeadDim}));
    if (!fraction && count) {
      rope.rotary_dim = static_cast<int>(*count);
    } else {
      const double usual =
          tower_->defaults.rotary_fraction > 0 ? tower_->defaults.rotary_fraction : 1;
      const double part = fraction.value_or(usual);
      if (!(part > 0 && part <= 1))
        return Error{Code::config_invalid, "the rotated part of a head must be a fraction of it",
                     config.where() + ": partial_rotary_factor", "above 0, at most 1",
                     std::to_string(part)};
      rope.rotary_dim = static_cast<int>(head_dim * part);
    }
  }
  if (rope.rotary_dim == 1) return Rope{};  // one coordinate cannot turn
  if (rope.rotary_dim > head_dim || rope.rotary_dim % 2 != 0 || rope.rotary_dim == 0)
    return mismatch("the number of rotated coordinates must be even and within the head",
                    config.where(), static_cast<std::uint64_t>(head_dim),
                    static_cast<std::uint64_t>(rope.rotary_dim));
  if (row_->rotary == Rotary::patches) {
    rope.one_dimensional = false;
    return rope;
  }

  rope.inverse_frequency.resize(rope.rotary_dim / 2);
  for (std::size_t pair = 0; pair < rope.inverse_frequency.size(); ++pair)
    rope.inverse_frequency[pair] =
        1 / std::pow(base, 2.0 * static_cast<double>(pair) / rope.rotary_dim);
  ULLAGE_ASSIGN(const Scaling scaling, scaling_of(parameters));
  switch (scaling) {
    case Scaling::none:
      break;
    case Scaling::dynamic: {  // other angles beyond the trained context
      ULLAGE_ASSIGN(const TrainedContext trained, trained_context(parameters));
      ULLAGE_ASSIGN(const auto longest, parameters.number_or_top("max_position_embeddings"));
      hold_until(rope, trained, longest.value_or(0));
      if (trained.context > 0) rope.angles_until = std::min(rope.angles_until, trained.context);
      break;
    }
    case Scaling::linear: {
      ULLAGE_ASSIGN(const double factor, parameters.positive("factor"));
      for (double& frequency : rope.inverse_frequency) frequency /= factor;
      break;
    }
    case Scaling::llama3:
      ULLAGE_TRY(scale_llama3(rope, parameters));
      break;
    case Scaling::yarn:
      ULLAGE_TRY(scale_yarn(rope, parameters, base));
      break;
    case Scaling::longrope:
      ULLAGE_TRY(scale_longrope(rope, parameters));
      break;
  }
  const bool finite = std::all_of(rope.inverse_frequency.begin(), rope.inverse_frequency.end(),
                                  [](double value) { return std::isfinite(value); });
  if (!finite)
    return Error{Code::config_invalid,
                 "the RoPE parameters give angles that are not finite",
                 config.where(),
                 {},
                 {}};
  if (!(rope.attention_factor > 0) || !std::isfinite(rope.attention_factor))
    return Error{Code::config_invalid, "the attention factor of RoPE must be positive and finite",
                 config.where() + ": attention_factor, or what it is computed from", "above 0",
                 std::to_string(rope.attention_factor)};
  return rope;
}

Result<RopeReader::Temperature> RopeReader::temperature() const {
  Temperature largest;
  for (const std::optional<Config>* section : {&section_, &passed_over_}) {
    if (!*section) continue;
    const Parameters parameters = {&**section, &tower_->config};
    ULLAGE_ASSIGN(const auto beta, parameters.number("llama_4_scaling_beta"));
    if (beta.value_or(0) == 0) continue;
    if (!(*beta > 0))
      return Error{Code::config_invalid, "this number must not be negative",
                   tower_->config.where() + ": llama_4_scaling_beta", "0 or more",
                   std::to_string(*beta)};
    ULLAGE_ASSIGN(const TrainedContext trained, trained_context(parameters));
    double floor = trained.least();
    if (floor == 0) {
      ULLAGE_ASSIGN(floor, parameters.positive("max_position_embeddings"));
    }
    largest.floor = largest.beta == 0 ? floor : std::min(largest.floor, floor);
    largest.beta = std::max(largest.beta, *beta);
  }
  return largest;
}

Result<double> latent_scale_factor(const Tower& tower) {
  double largest = 0;
  ULLAGE_ASSIGN(const std::optional<Config> of_class, class_section(tower));
  for (const auto& section :
       {tower.config.section("rope_scaling"), tower.config.section("rope_parameters"), of_class}) {
    if (!section || section->keys().empty()) continue;
    const Parameters parameters = {&*section, &tower.config};
    ULLAGE_ASSIGN(const Scaling scaling, scaling_of(parameters));
    ULLAGE_ASSIGN(const auto mscale, parameters.number("mscale_all_dim"));
    double scale = 1;
    if (scaling != Scaling::none && mscale.value_or(0) != 0) {
      ULLAGE_ASSIGN(const double factor, parameters.positive("factor"));
      scale = attention_scale(factor, *mscale);
    }
    largest = std::max(largest, scale * scale);
  }
  return largest > 0 ? largest : 1;
}

}  // namespace ullage::checkpoint
