// What rotary position embedding makes of one head's score: searched, certified, sampled.
#pragma once

#include <optional>

#include "scan/context.h"
#include "scan/fold.h"
#include "ullage/bounds/head.h"
#include "ullage/scan/result.h"
#include "ullage/spectrum/rope.h"

namespace ullage::scan {

// The two folded sides in the arithmetic that this head needs.
struct Sides {
  const Folded* query;
  const Folded* key;
  spectrum::Bounded sigma;  // the bound only where nothing rotates or normalises: elsewhere no
                            // certificate rests on it
};

// RoPE: the search for D, the certified product with it, the sampled supremum.
struct RopeWork {
  spectrum::Scaling scaling;
  bool searched = false;
  // Of the score of the computed biases, where it costs nothing more or is wanted over the context's offsets alone
  // (--exact-context).
  std::optional<double> certificate;
};

RopeWork fill_rope(const LayerContext& context, const Sides& sides, const bounds::Side& query,
                   const bounds::Side& key, HeadResult& out);

}  // namespace ullage::scan
