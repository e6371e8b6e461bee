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

enum class Scaling { none, linear, llama3, yarn, longrope };

// Older files say "type" and know other names. dynamic: angles change only beyond the trained context.
constexpr std::pair<std::string_view, Scaling> kScalings[] = {
    {"default", Scaling::none}, {"dynamic", Scaling::none},      {"mrope", Scaling::none},
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

// YaRN's m(factor).
double attention_scale(double factor, double weight = 1) {
  return factor <= 1 ? 1 : 0.1 * weight * std::log(factor) + 1;
}

// Long wavelengths are stretched by the factor, short ones kept, those between blended.
Status scale_llama3(Rope& rope, const Parameters& parameters) {
  ULLAGE_ASSIGN(const double factor, parameters.positive("factor"));
  ULLAGE_ASSIGN(const double low, parameters.positive("low_freq_factor"));
  ULLAGE_ASSIGN(const double high, parameters.positive("high_freq_factor"));
  ULLAGE_ASSIGN(const double old, parameters.positive("original_max_position_embeddings"));
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
  ULLAGE_ASSIGN(const auto original, parameters.number("original_max_position_embeddings"));
  double old = original.value_or(0);
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

// The short factors, which hold up to the original context; the attention factor serves both.
Status scale_longrope(Rope& rope, const Parameters& parameters) {
  ULLAGE_ASSIGN(const double old, parameters.positive("original_max_position_embeddings"));
  ULLAGE_ASSIGN(const auto given, parameters.number("attention_factor"));
  ULLAGE_ASSIGN(const auto short_scale, parameters.number("short_mscale"));
  ULLAGE_ASSIGN(const auto long_scale, parameters.number("long_mscale"));
  ULLAGE_ASSIGN(const auto stated, parameters.number("factor"));
  double factor = stated.value_or(0);
  if (factor == 0) {
    ULLAGE_ASSIGN(const double longest, parameters.positive("max_position_embeddings"));
    factor = longest / old;
  }
  if (short_scale && long_scale)  // phimoe: one for each set of factors
    rope.attention_factor = std::max(*short_scale, *long_scale);
  else if (given.value_or(0) != 0)
    rope.attention_factor = *given;
  else
    rope.attention_factor = factor <= 1 ? 1 : std::sqrt(1 + std::log(factor) / std::log(old));
  ULLAGE_ASSIGN(const auto factors, parameters.section->numbers("short_factor"));
  if (factors.size() != rope.inverse_frequency.size())
    return mismatch("short_factor does not have one number for each rotated pair",
                    parameters.top->where(), rope.inverse_frequency.size(), factors.size());
  for (std::size_t pair = 0; pair < factors.size(); ++pair)
    rope.inverse_frequency[pair] /= factors[pair];
  return {};
}

// What the angles are powers of. `theta_key`: where files without a rope section have it.
Result<double> read_base(const Tower& tower, const Row& row, const Parameters& parameters,
                         std::string_view theta_key) {
  ULLAGE_ASSIGN(auto theta, parameters.number("rope_theta"));
  if (!theta) {
    ULLAGE_ASSIGN(theta, tower.config.optional_number(theta_key));
  }
  double base =
      theta.value_or(tower.defaults.rope_theta > 0 ? tower.defaults.rope_theta : kUsualTheta);
  if (row.rotary == Rotary::count) base = kUsualTheta;
  if (!(base > 0))
    return Error{Code::config_invalid, "the base of RoPE's angles must be positive",
                 tower.config.where() + ": rope_theta", "above 0", std::to_string(base)};
  return base;
}

// How many coordinates of a head the config says to rotate.
Result<int> read_rotary_dim(const Tower& tower, const Row& row, const Parameters& parameters,
                            int head_dim) {
  const Config& config = tower.config;
  if (row.latent != nullptr) return head_dim;
  if (row.rotary == Rotary::count) {
    ULLAGE_ASSIGN(const auto count, config.optional_integer("rotary_dim", {0, kMaxHeadDim}));
    return count.value_or(0) != 0 ? static_cast<int>(*count) : head_dim;
  }
  if (row.rotary != Rotary::fraction) return head_dim;
  ULLAGE_ASSIGN(auto fraction, parameters.number("partial_rotary_factor"));
  if (!fraction) {
    ULLAGE_ASSIGN(fraction, config.optional_number("partial_rotary_factor|rotary_pct"));
  }
  ULLAGE_ASSIGN(const auto count, config.optional_integer("rotary_dim", {1, kMaxHeadDim}));
  if (!fraction && count) return static_cast<int>(*count);
  const double usual = tower.defaults.rotary_fraction > 0 ? tower.defaults.rotary_fraction : 1;
  const double part = fraction.value_or(usual);
  if (!(part > 0 && part <= 1))
    return Error{Code::config_invalid, "the rotated part of a head must be a fraction of it",
                 config.where() + ": partial_rotary_factor", "above 0, at most 1",
                 std::to_string(part)};
  return static_cast<int>(head_dim * part);
}

// The angles of rope.rotary_dim coordinates, and the attention factor that their scaling brings.
Status set_frequencies(Rope& rope, const Parameters& parameters, double base) {
  rope.inverse_frequency.resize(rope.rotary_dim / 2);
  for (std::size_t pair = 0; pair < rope.inverse_frequency.size(); ++pair)
    rope.inverse_frequency[pair] =
        1 / std::pow(base, 2.0 * static_cast<double>(pair) / rope.rotary_dim);
  ULLAGE_ASSIGN(const Scaling scaling, scaling_of(parameters));
  switch (scaling) {
    case Scaling::none:
      break;
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
  if (!finite || !std::isfinite(rope.attention_factor))
    return Error{Code::config_invalid,
                 "the RoPE parameters give angles that are not finite",
                 parameters.top->where(),
                 {},
                 {}};
  return {};
}

}  // namespace

Result<RopeReader> RopeReader::open(const Tower& tower, const Row& row) {
  const Config& config = tower.config;
  RopeReader reader(tower, row);
  if (row.rope == RopePairing::none) return reader;
  ULLAGE_ASSIGN(reader.types_, config.strings("layer_types"));
  reader.period_ = row.pattern.period;
  if (!row.pattern.key.empty()) {
    if (config.kind(row.pattern.key) == Config::Kind::string) {  // exaone4: "LLLG"
      ULLAGE_ASSIGN(reader.letters_, config.string(row.pattern.key));
    } else {
      ULLAGE_ASSIGN(const auto period, config.optional_integer(row.pattern.key, {1, kMaxLayers}));
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
  reader.section_ = config.section("rope_parameters");
  if (!reader.section_) {
    reader.section_ = config.section("rope_scaling");
    reader.older_ = true;
  }
  const bool silent = !reader.section_ && config.kind("rope_scaling") == Config::Kind::absent &&
                      !config.has("rope_theta|global_rope_theta|rope_local_base_freq");
  if (silent && !tower.defaults.rope_parameters.empty()) {
    ULLAGE_ASSIGN(reader.section_,
                  Config::parse(std::string(tower.defaults.rope_parameters), config.where()));
    reader.older_ = false;
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
  Rope rope;
  if (!turns(layer)) return rope;
  const Config& config = tower_->config;
  const std::string_view type = type_of(layer);
  std::optional<Config> section = section_;
  std::string_view theta_key = "rope_theta|rotary_emb_base|attn_config.rope_theta";
  if (section && !older_ && !type.empty())
    if (auto own = section->section(type)) section = std::move(own);
  // Before transformers 5 two models gave their sliding layers a theta of their own, never scaled.
  if (older_ && type == "sliding_attention" &&
      config.has("rope_local_base_freq|local_rope_theta")) {
    section.reset();
    theta_key = "rope_local_base_freq|local_rope_theta";
  } else if (config.has("global_rope_theta")) {
    theta_key = "global_rope_theta";
  }
  const Parameters parameters = {section ? &*section : nullptr, &config};
  ULLAGE_ASSIGN(const double base, read_base(*tower_, *row_, parameters, theta_key));

  rope.pairing = row_->rope;
  if (row_->latent != nullptr) {
    ULLAGE_ASSIGN(const bool interleaved, truth(config, "rope_interleave", true));
    if (!interleaved) rope.pairing = RopePairing::half_split;
  }
  ULLAGE_ASSIGN(rope.rotary_dim, read_rotary_dim(*tower_, *row_, parameters, head_dim));
  if (rope.rotary_dim == 1) return Rope{};  // one coordinate cannot turn
  if (rope.rotary_dim > head_dim || rope.rotary_dim % 2 != 0 || rope.rotary_dim == 0)
    return mismatch("the number of rotated coordinates must be even and within the head",
                    config.where(), static_cast<std::uint64_t>(head_dim),
                    static_cast<std::uint64_t>(rope.rotary_dim));
  if (row_->rotary == Rotary::patches) {
    rope.one_dimensional = false;
    return rope;
  }
  ULLAGE_TRY(set_frequencies(rope, parameters, base));
  return rope;
}

Result<double> latent_scale_factor(const Tower& tower) {
  std::optional<Config> section = tower.config.section("rope_parameters");
  if (!section) section = tower.config.section("rope_scaling");
  if (!section) return 1.0;
  const Parameters parameters = {&*section, &tower.config};
  ULLAGE_ASSIGN(const Scaling scaling, scaling_of(parameters));
  ULLAGE_ASSIGN(const auto mscale, parameters.number("mscale_all_dim"));
  if (scaling == Scaling::none || mscale.value_or(0) == 0) return 1.0;
  ULLAGE_ASSIGN(const double factor, parameters.positive("factor"));
  const double scale = attention_scale(factor, *mscale);
  return scale * scale;
}

}  // namespace ullage::checkpoint
