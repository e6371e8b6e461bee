// What forward and backward share around the loops: checks of a run, and heads in parallel.
#pragma once

#include <cstddef>
#include <functional>
#include <type_traits>

#include "ullage/attention/recipe.h"
#include "ullage/attention/reference.h"
#include "ullage/base/result.h"

namespace ullage::attention {

// The recipe's arithmetic must be Real's.
Status check_arithmetic(const Recipe& recipe, bool fp64);

template <class Real>
Status check_run(const Recipe& recipe, const Options& options) {
  ULLAGE_TRY(check_arithmetic(recipe, std::is_same_v<Real, double>));
  return check(options.shift);
}

// Two passes over a row need its scores whole.
Tiles tiles_of(const Recipe& recipe, const Options& options);

// One query head of one sequence. The inputs, recipe and options have been checked.
template <class Real>
void forward_head(const Inputs<Real>& inputs, const Recipe& recipe, const Options& options,
                  const Outputs<Real>& outputs, std::size_t sequence, std::size_t head);

// delta of one query head alone.
template <class Real>
void delta_head(const Inputs<Real>& inputs, const Recipe& recipe, const Options& options,
                const View<const Real>& grad_output, const Saved<Real>& saved,
                const View<Real>& delta, std::size_t sequence, std::size_t head);

// body(index) for each index below count; running out of memory becomes an error.
Status run_heads(std::size_t count, int threads, const std::function<void(std::size_t)>& body);

}  // namespace ullage::attention
