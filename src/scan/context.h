// What is fixed for all heads of a layer: options, rotation, limits.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "ullage/bounds/expected.h"
#include "ullage/bounds/head.h"
#include "ullage/checkpoint/attention.h"
#include "ullage/scan/scan.h"
#include "ullage/spectrum/rope.h"

namespace ullage::scan {

struct LayerContext {
  const checkpoint::AttentionLayer* layer = nullptr;
  const ScanOptions* options = nullptr;
  bounds::ExpectedModel model;
  double score_scale = 0;  // |scale| times the largest temperature within the context
  std::array<double, kReportedFormats.size()> format_max{};
  spectrum::Rotation rotation;      // pairs empty where nothing turns before the score
  std::vector<double> rope_factor;  // of each coordinate of q and k; empty: ones
  spectrum::SampledTurns turns;     // offsets to sample; none where angles are no multiples of one
  bool rotates = false;             // some rotation stands between the projections and the score
  bool pairing_known = true;        // false: half-split pairs stand in, for estimates
  std::string no_certificate;       // why no bound may be claimed; empty: bounds hold
  double temperature = 1;           // the largest factor on q within the context
};

// value_invalid where the layer's RoPE does not fit its head_dim.
Result<LayerContext> make_context(const checkpoint::AttentionLayer& layer,
                                  const ScanOptions& options, std::int64_t context);

}  // namespace ullage::scan
