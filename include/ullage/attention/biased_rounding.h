// When is BF16 attention biased? The bit-exact addition of [F], and its law over many random rows.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "ullage/attention/study.h"
#include "ullage/attention/values.h"
#include "ullage/base/result.h"

namespace ullage::attention {

// The addition that [F] (arXiv 2510.04212) shows, made by whole rows of attention in the bf16-paper
// recipe: two keys at the row's maximum with values a = -2.40625 and b = -2.296875, and a third
// whose product is the remainder of the other tokens, -0.000865459442138671875. a + b is a tie that
// goes to even; the remainder, though far below half a unit, turns it away from zero.
// Rows `error with remainder` and `error without remainder`: rounded minus FP32 sum.
Result<std::vector<ValueRow>> rounding_vector();

// The same row's addition step by step.
Result<std::vector<AdditionStep>> rounding_vector_steps();

// Many rows with k repeated maxima, the others D below: mean signed errors by recipe and shift.
struct BiasedCase {
  std::size_t repeats = 2;  // k
  double depth = 18;        // D
  Shift shift = {};
  double top_spread = 0;  // 0: all rows share m = 4
  double value_mean = -2.8;
  double value_spread = 0.3;
};

struct BiasedOptions {
  // A row's rounding of P-bar is shared by all its features, so that it is rows that make the means
  // sharp: 8192 bring the standard error of O to 0.005 ulp at worst (k = 3 in bf16-paper).
  std::size_t rows = 8192;
  std::size_t features = 64;
  std::uint64_t seed = 1;
  int threads = 1;
};

// 1024 keys, all in one tile as [F]'s sum is one product.
Result<StudyCase> measure_biased(const BiasedCase& biased, const Recipe& recipe,
                                 const BiasedOptions& options);

// Rows `RECIPE, k K, D D, SHIFT: unnormalised ulp`, `: output ulp`, `: delta` for the recipes
// bf16-paper and bf16-flash. The published values are for bf16-paper: the law's micro-benchmark (300
// rows) with the unrounded row sum, whose delta is in units of |dO|.
Result<std::vector<ValueRow>> biased_rounding(const BiasedOptions& options);

}  // namespace ullage::attention
