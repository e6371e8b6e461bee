// The online softmax of one row: scores of a tile in, P-bar and the row sum out.
#pragma once

#include <cstddef>
#include <limits>
#include <span>

#include "attention/products.h"
#include "attention/rounder.h"
#include "ullage/attention/recipe.h"
#include "ullage/attention/shift.h"

namespace ullage::attention {

template <class Real>
struct RowState {
  Real offset = 0;  // the stabilised rule's, where the maximum is repeated
  RowMaximum<Real> maximum = {
      -std::numeric_limits<Real>::infinity(), 0, {-std::numeric_limits<Real>::infinity(), Real{0}}};
  Real sum = 0;          // l, times 2^weight_exponent
  bool started = false;  // some score or sink was seen
};

template <class Real>
class RowSoftmax {
 public:
  RowSoftmax(const Recipe& recipe, const Shift& shift, Rounders<Real>& rounders)
      : recipe_(recipe), shift_(shift), rounders_(rounders), sums_(recipe.row_sum, 0) {}

  // A row that has seen nothing; `row` and its query, as stored, choose the stabilised rule's offset.
  RowState<Real> start(RowKey row, std::span<const Real> query) const;

  void start_with_sink(RowState<Real>& state, Real sink);

  // Turns the scores of one tile of the row into P-bar (as `exponential` keeps it, not yet as
  // `weight`), updates the state and returns the factor by which what was summed before counts now.
  // A tile that shows the row nothing becomes zeros, factor 1.
  Real take_tile(RowState<Real>& state, std::span<Real> scores);

  // L = log l + m of a finished row; -infinity where nothing was seen.
  Real log_sum_exp(const RowState<Real>& state);

 private:
  const Recipe& recipe_;
  const Shift& shift_;
  Rounders<Real>& rounders_;
  Products<Real> sums_;
  std::vector<Real> rounded_;
};

extern template class RowSoftmax<float>;
extern template class RowSoftmax<double>;

}  // namespace ullage::attention
