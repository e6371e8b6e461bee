// The planted layer of made.h.
#include <cmath>
#include <vector>

#include "attention/rounder.h"
#include "ullage/attention/made.h"

namespace ullage::attention {

namespace {

enum Stream : std::uint32_t { kX, kWeights, kKeys, kValues, kGradOutput, kDirections };

// Streams of this file are apart from those of made.cc.
constexpr std::uint32_t kFirstStream = 64;

class Planter {
 public:
  explicit Planter(const PlantedOptions& options) : o_(options) {
    inputs_.shape = {o_.batch, o_.heads, o_.heads, o_.tokens, o_.tokens, o_.width, o_.width};
    inputs_.model_width = o_.model_width;
    inputs_.mask = causal();
    const std::size_t count = o_.batch * o_.heads * o_.tokens * o_.width;
    for (auto* tensor : {&inputs_.q, &inputs_.k, &inputs_.v, &inputs_.grad_output})
      tensor->resize(count);
  }

  StudyInputs run() && {
    make_tokens();
    for (std::size_t h = 0; h < o_.heads; ++h) {
      make_queries(h);
      for (std::size_t b = 0; b < o_.batch; ++b) make_rest(b, h);
    }
    return std::move(inputs_);
  }

 private:
  [[nodiscard]] Generator stream(Stream stream) const {
    return {o_.seed, kFirstStream + static_cast<std::uint32_t>(stream)};
  }

  [[nodiscard]] std::vector<double> direction(std::uint64_t index, std::size_t count) const {
    const Generator generator = stream(kDirections);
    std::vector<double> out(count);
    double squares = 0;
    for (std::size_t i = 0; i < count; ++i) {
      out[i] = generator.normal((index << 20) + i);
      squares += out[i] * out[i];
    }
    for (double& x : out) x /= std::sqrt(squares);
    return out;
  }

  // x = sqrt(d) (0.8 common + 0.6 own), so that cos(x, x') is about 0.64 as after a LayerNorm whose
  // inputs share a mean.
  void make_tokens() {
    const std::size_t d = o_.model_width;
    common_ = direction(0, d);
    const Generator generator = stream(kX);
    inputs_.x.resize(o_.batch * o_.tokens * d);
    for (std::size_t e = 0; e < inputs_.x.size(); ++e)
      inputs_.x[e] = bf16(0.8 * std::sqrt(static_cast<double>(d)) * common_[e % d] +
                          0.6 * generator.normal(e));
  }

  // q = W x; a planted head's W turns the tokens' common direction into the head's own, of length 8
  // for a mean token, beside noise.
  void make_queries(std::size_t h) {
    const std::size_t d = o_.model_width;
    const bool planted = h < o_.planted_heads;
    const double gain = planted ? 8 / (0.8 * std::sqrt(static_cast<double>(d))) : 0;
    const double noise = (planted ? 0.3 : 1.0) / std::sqrt(static_cast<double>(d));
    const std::vector<double> own = direction(1 + h, o_.width);
    const Generator generator = stream(kWeights);
    std::vector<double> weights(o_.width * d);
    for (std::size_t c = 0; c < o_.width; ++c) {
      for (std::size_t e = 0; e < d; ++e)
        weights[c * d + e] =
            gain * own[c] * common_[e] + noise * generator.normal((h * o_.width + c) * d + e);
    }
    for (std::size_t b = 0; b < o_.batch; ++b) {
      for (std::size_t t = 0; t < o_.tokens; ++t) {
        for (std::size_t c = 0; c < o_.width; ++c) {
          double sum = 0;
          for (std::size_t e = 0; e < d; ++e)
            sum += weights[c * d + e] * static_cast<double>(inputs_.x[(b * o_.tokens + t) * d + e]);
          inputs_.q[row(b, h, t) + c] = bf16(sum);
        }
      }
    }
  }

  // K, V and dO. The sink's key has length sqrt(width) depth / 8 along the head's direction: its
  // score is the depth where the query's length along it is 8, while others score N(0, 1).
  void make_rest(std::size_t b, std::size_t h) {
    const bool planted = h < o_.planted_heads;
    const std::vector<double> own = direction(1 + h, o_.width);
    const Generator keys = stream(kKeys);
    const Generator values = stream(kValues);
    const Generator grads = stream(kGradOutput);
    const double length = std::sqrt(static_cast<double>(o_.width)) * o_.depth / 8;
    for (std::size_t t = 0; t < o_.tokens; ++t) {
      for (std::size_t c = 0; c < o_.width; ++c) {
        const std::size_t e = row(b, h, t) + c;
        const bool one_signed = planted && c < o_.features;
        inputs_.k[e] = bf16(planted && t < o_.copies ? length * own[c] : keys.normal(e));
        inputs_.v[e] = bf16(one_signed ? o_.value_mean + o_.value_spread * values.normal(e)
                                       : values.normal(e));
        const double grad = grads.normal(e);
        inputs_.grad_output[e] = bf16(one_signed ? -std::fabs(grad) : 0.3 * grad);
      }
    }
  }

  [[nodiscard]] std::size_t row(std::size_t b, std::size_t h, std::size_t t) const {
    return ((b * o_.heads + h) * o_.tokens + t) * o_.width;
  }

  const PlantedOptions& o_;
  StudyInputs inputs_;
  std::vector<double> common_;
};

}  // namespace

Result<StudyInputs> make_planted(const PlantedOptions& options) {
  const PlantedOptions& o = options;
  if (o.width == 0 || o.width > kMaxWidth || o.features > o.width || o.planted_heads > o.heads ||
      o.copies > o.tokens || o.model_width == 0 || o.batch == 0 || o.tokens == 0)
    return Error{Code::value_invalid,
                 "features, heads and copies must fit the layer's sizes",
                 "planted layer",
                 {},
                 {}};
  return Planter(options).run();
}

}  // namespace ullage::attention
