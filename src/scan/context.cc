#include "scan/context.h"

#include <cmath>

#include "ullage/formats/format.h"

namespace ullage::scan {
namespace {

// The largest factor that position-dependent scaling puts on q within the context.
double temperature(const checkpoint::AttentionLayer& layer, std::int64_t context) {
  if (layer.temperature_scale == 0) return 1;
  const double steps = std::floor(static_cast<double>(context) / layer.temperature_floor);
  return std::max(1.0, 1 + layer.temperature_scale * std::log1p(steps));
}

// Each offset is held with its turn of every pair.
constexpr std::int64_t kMostOffsets = 1 << 20;

Result<std::vector<double>> offsets_of(std::int64_t context, int count) {
  const std::int64_t wanted = count > 0 ? std::min<std::int64_t>(count, context) : context;
  if (wanted > kMostOffsets)
    return Error{Code::usage, "too many offsets to sample: give fewer, or a shorter --context",
                 "--offsets", "at most " + std::to_string(kMostOffsets), std::to_string(wanted)};
  if (count > 0 && count < context)
    return spectrum::sampled_offsets(static_cast<double>(context), count);
  std::vector<double> all;
  for (std::int64_t t = 0; t < context; ++t) all.push_back(static_cast<double>(-t));
  return all;
}

}  // namespace

Result<LayerContext> make_context(const checkpoint::AttentionLayer& layer,
                                  const ScanOptions& options, std::int64_t context) {
  LayerContext result;
  result.layer = &layer;
  result.options = &options;
  result.model = {context, options.probability, layer.causal};
  result.temperature = temperature(layer, context);
  result.score_scale = std::abs(layer.score_scale) * result.temperature;
  for (std::size_t i = 0; i < kReportedFormats.size(); ++i)
    result.format_max[i] = formats::find_format(kReportedFormats[i])->max_finite();
  const checkpoint::Rope& rope = layer.rope;
  using checkpoint::RopePairing;
  result.rotates = rope.pairing != RopePairing::none;
  result.pairing_known = rope.pairing != RopePairing::unknown;
  result.no_certificate = layer.guessed;
  if (!result.pairing_known && layer.guessed.empty())
    result.no_certificate = "the pairing of this architecture's RoPE is not known";
  if (!result.rotates) return result;
  // Latent attention keeps its rotated part apart: the rotation is of that part alone.
  const int width = layer.latent ? layer.latent->query_rope.rows : layer.head_dim;
  const auto pairing = rope.pairing == RopePairing::interleaved ? spectrum::Pairing::interleaved
                                                                : spectrum::Pairing::half_split;
  // Angles that follow two-dimensional positions have no frequency a pair, and no bound asks for it.
  std::vector<double> frequencies = rope.inverse_frequency;
  if (!rope.one_dimensional) frequencies.assign(static_cast<std::size_t>(rope.rotary_dim / 2), 0);
  ULLAGE_ASSIGN(result.rotation,
                spectrum::make_rotation(width, rope.rotary_dim, pairing, frequencies, rope.first));
  if (rope.attention_factor != 1) {
    result.rope_factor.assign(static_cast<std::size_t>(width), 1);
    for (const auto& pair : result.rotation.pairs)
      for (const int coordinate : pair)
        result.rope_factor[static_cast<std::size_t>(coordinate)] = rope.attention_factor;
  }
  if (rope.one_dimensional) {
    ULLAGE_ASSIGN(const std::vector<double> offsets, offsets_of(context, options.offsets));
    result.turns = spectrum::sampled_turns(result.rotation, offsets);
  }
  return result;
}

}  // namespace ullage::scan
