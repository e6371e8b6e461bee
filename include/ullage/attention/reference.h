// Tiled attention, forward and backward, with every rounding settable: the definition that the fast
// kernels are tested against, and the instrument of the study.
//
// Bit-reproducible: the same inputs, recipe, shift and tiles give the same bits on every machine and
// for every thread count. Rows that see no key are 0 (L is -infinity); a NaN among the scores of a
// row makes that row NaN. Memory beside the tensors is linear in queries + keys, a thread.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "ullage/attention/problem.h"
#include "ullage/attention/recipe.h"
#include "ullage/attention/shift.h"
#include "ullage/attention/statistics.h"
#include "ullage/base/result.h"

namespace ullage::attention {

struct Options {
  Shift shift = {};
  std::optional<Tiles> tiles = {};  // none: the recipe's
  int threads = 1;                  // 0: default_threads(). Never changes a result.
};

// Where results go; rows and batches are indexed as Q's. Null views are not written. One value a row
// is at column 0.
template <class Real>
struct Outputs {
  View<Real> output;
  View<Real> log_sum_exp = {};
  // From the same `weight` and l, nothing rounded from the products on.
  View<Real> twin = {};
  // O before the division by l, as stored, and its twin.
  View<Real> unnormalised = {};
  View<Real> unnormalised_twin = {};
  View<std::uint32_t> ones = {};  // entries of `weight` that are exactly 1, a row
  View<RowStatistics> statistics = {};
};

// Real is float for recipes in FP32 arithmetic, double for those in FP64; the other is usage. Other
// codes, backward's too: value_invalid (inputs or shift that check() refuses, a tensor that is needed and
// null), resource (no memory for the scratch).
template <class Real>
Status forward(const Inputs<Real>& inputs, const Recipe& recipe, const Options& options,
               const Outputs<Real>& outputs);

// What the backward pass reads of the forward one. The twin is read where the recipe's delta_source
// is twin, `output` where it is output.
template <class Real>
struct Saved {
  View<const Real> output;
  View<const Real> log_sum_exp;
  View<const Real> twin = {};
};

template <class Real>
struct Gradients {
  View<Real> q = {};
  View<Real> k = {};
  View<Real> v = {};
  View<Real> delta = {};       // one value a row, at column 0
  std::span<Real> sinks = {};  // query_heads; summed over the batch
};

template <class Real>
Status backward(const Inputs<Real>& inputs, const Recipe& recipe, const Options& options,
                View<const Real> grad_output, const Saved<Real>& saved,
                const Gradients<Real>& gradients);

}  // namespace ullage::attention
