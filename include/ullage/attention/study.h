// The study: what rounding does to attention on given inputs, by recipe and shift.
//
// Errors are against softmax attention in FP64 over the recipe's own stored scores and values, so that
// they show what happens from the softmax on and nothing before it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "ullage/attention/made.h"
#include "ullage/attention/recipe.h"
#include "ullage/attention/reference.h"
#include "ullage/attention/signed_error.h"
#include "ullage/base/result.h"

namespace ullage::attention {

// The error of the weight gradient is sum over tokens T of e_T R_T, e the error of delta,
// R_T = (P K)_T^T x_T of rank 1. It adds up over tokens where the R_T point alike.
struct Coherence {
  // Mean over pairs of tokens of cos(R_T, R_T') = cos(pk_T, pk_T') cos(x_T, x_T'); R is not formed.
  // This and the next two are over 64 tokens, evenly spaced, where there are more.
  double pair_cosine = 0;
  double key_cosine = 0;    // the first factor alone
  double input_cosine = 0;  // the second; 1 where the inputs have no x
  // |sum e_T R_T|_F / sum |e_T||R_T|_F: 1 where all terms add, about 1 / sqrt(tokens) where signs are
  // random.
  double sum_share = 0;
  // Share of the squared Frobenius norm of sum e_T R_T that its top singular value holds.
  double top_share = 0;
};

struct StudyCase {
  std::size_t rows = 0;           // that see a key
  std::size_t repeated_rows = 0;  // whose maximum is repeated
  std::size_t lost_rows = 0;      // whose sum is lost (L off by more than 0.5) or O not finite
  std::size_t entries = 0;        // visible scores
  std::size_t ones = 0;           // entries of P-bar, as it enters P-bar V, that are exactly 1
  double tail_mass = 0;           // median over repeated rows of (l - repeats) / repeats
  SignedError unnormalised;       // P-bar V as stored against the same sum unrounded, in ulp of it
  // O, in ulp of sum p |V|, which is |O| where V has one sign. In ulp of an O that cancels to almost 0
  // the mean would be that of a few elements.
  SignedError output;
  SignedError delta;  // delta, absolute; none without dO
  bool has_grad_output = false;
  Histogram output_histogram;
  Coherence alignment;  // mean over heads; none without dO
};

// One unit in the last place of `format` at x; of its smallest normal number below that.
double ulp(const formats::Format& format, double x);

// One head of one sequence. `threads` of the options is not used.
Result<StudyCase> study_head(const StudyInputs& inputs, const Recipe& recipe,
                             const Options& options, std::size_t batch, std::size_t head);

// delta's error alone, one value a row that sees a key and kept its sum.
Result<SignedErrorSum> delta_errors(const StudyInputs& inputs, const Recipe& recipe,
                                    const Options& options, std::size_t batch, std::size_t head);

// All heads together; ulps are of the recipe's stored format (FP32 where none).
Result<StudyCase> study(const StudyInputs& inputs, const Recipe& recipe, const Options& options);

// Sum over rows of delta's error after each simulated step, for made inputs whose seed moves on by one
// a step.
Result<std::vector<double>> accumulated_bias(Made made, std::size_t heads, std::uint64_t seed,
                                             std::size_t steps, const Recipe& recipe,
                                             const Options& options);

// One addition of a running sum, as the FP32 accumulator and the BF16 result see it.
struct AdditionStep {
  float term;  // P-bar_j V_j
  float sum;   // FP32 sum so far
  std::uint32_t sum_bits;
  float rounded;  // that sum as BF16
  std::uint32_t rounded_bits;
  double error;  // rounded - sum
};

// Terms in order, each added in FP32.
std::vector<AdditionStep> trace_addition(std::span<const float> terms);

// The terms of element `feature` of row `query` of a head: weight_j V_j in ascending key order, keys
// of weight 0 left out. One tile.
Result<std::vector<float>> terms_of(const StudyInputs& inputs, const Recipe& recipe,
                                    const Shift& shift, std::size_t head, std::size_t query,
                                    std::size_t feature);

}  // namespace ullage::attention
