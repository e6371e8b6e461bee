// The largest entries of q, k and v, and what is added to the score: the parts of a head's figures
// that need no spectrum.
#pragma once

#include <vector>

#include "scan/context.h"
#include "scan/fold.h"
#include "ullage/bounds/qk_norm.h"
#include "ullage/scan/result.h"

namespace ullage::scan {

// Gains and biases of the QK-norm of one head, with RoPE's factor where the rotation follows it.
struct QkNormSides {
  std::vector<double> query_gain, query_bias, key_gain, key_bias;
  [[nodiscard]] bounds::QkNormSide query(const LayerContext& context) const;
  [[nodiscard]] bounds::QkNormSide key(const LayerContext& context) const;
};
QkNormSides qk_norm_sides(const LayerContext& context, int head, int kv_head);

struct AmaxFigures {
  Figure kernel;      // as an attention kernel quantises it: after QK-norm, clipping and RoPE
  Figure projection;  // of the projection's output
  Figure expected;
};

// Of q or k. `qk_norm` null: the layer has none.
AmaxFigures side_amax(const LayerContext& context, const Folded& folded,
                      const bounds::QkNormSide* qk_norm);

// Of v, of which only row norms are known. `rows` as stored.
struct ValueFigures {
  bool finite = false;
  Figure amax, expected;
};
ValueFigures value_amax(const LayerContext& context, const checkpoint::InputNorm& input,
                        const spectrum::HeadRows& stored, std::span<const double> projection_bias,
                        spectrum::GramWorkspace& workspace);

Figure additive_bias(const LayerContext& context, int head);

}  // namespace ullage::scan
