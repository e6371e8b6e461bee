#include "scan/fold.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "ullage/spectrum/certificate.h"

namespace ullage::scan {
namespace {

using spectrum::HeadRows;

bool all_finite(std::span<const double> values) {
  return std::all_of(values.begin(), values.end(), [](double v) { return std::isfinite(v); });
}

// |rows|_F of the rows as given, from above; NaN when one is not finite.
double frobenius(const HeadRows& rows, spectrum::GramWorkspace& workspace) {
  std::vector<double> squares(static_cast<std::size_t>(rows.rows));
  if (!spectrum::row_norms_squared(rows, workspace, squares)) return NAN;
  return spectrum::round_up(std::sqrt(std::accumulate(squares.begin(), squares.end(), 0.0)));
}

// |W diag(beta)|_F, from above; it also bounds the 2-norm.
double beta_frobenius(const HeadRows& stored, const checkpoint::InputNorm& input,
                      spectrum::GramWorkspace& workspace) {
  if (input.bias.empty()) return 0;
  HeadRows rows = stored;
  rows.gain = input.bias;
  return frobenius(rows, workspace);
}

// The norms of a forward pass that rounds its operands: no LayerNorm projection, whose means come
// back with |X + m 1^T| <= |X| + sqrt(width) |m|.
bounds::RoundedSide rounded_side(const HeadRows& stored, const checkpoint::InputNorm& input,
                                 const Folded& folded, spectrum::GramWorkspace& workspace) {
  bounds::RoundedSide side;
  const double means = input.layer_norm ? std::sqrt(static_cast<double>(stored.width)) *
                                              spectrum::norm2(folded.gram.means)
                                        : 0.0;
  const double trace = spectrum::trace(folded.gram.values) + stored.rows * folded.gram.inflation;
  side.norm = spectrum::round_up(folded.norm.bound + means);
  side.frobenius = spectrum::round_up(std::sqrt(trace) + means);
  side.bias = spectrum::round_up(spectrum::norm2(folded.bias) + folded.bias_error);
  side.beta_norm = side.beta_frobenius = beta_frobenius(stored, input, workspace);
  side.squared_norm = input.squared_norm;
  side.width = input.width;
  return side;
}

// Biases and norms of a head whose Gram is made.
void finish_fold(const HeadRows& stored, const checkpoint::InputNorm& input,
                 std::span<const double> projection_bias, spectrum::GramWorkspace& workspace,
                 Folded& out) {
  out.input = &input;
  out.finite = out.finite && all_finite(input.bias) && all_finite(projection_bias);
  out.out_of_range = out.finite && out.gram.exponent != 0;
  out.finite = out.finite && !out.out_of_range;
  if (!out.finite) return;
  out.bias.assign(projection_bias.begin(), projection_bias.end());
  out.bias_error = 0;
  if (!input.bias.empty()) {
    std::vector<double> product(static_cast<std::size_t>(stored.rows));
    spectrum::row_products(stored, input.bias, product);
    out.bias.resize(product.size());
    for (std::size_t i = 0; i < product.size(); ++i) out.bias[i] += product[i];
    out.bias_error = product_error(stored.width, frobenius(stored, workspace),
                                   spectrum::norm2(input.bias), spectrum::norm2(out.bias));
  }
  out.norm = spectrum::bounded_norm(out.gram);
  out.finite = std::isfinite(out.norm.bound) && all_finite(out.bias);
  out.out_of_range = !out.finite;
  if (out.finite) out.rounded = rounded_side(stored, input, out, workspace);
}

}  // namespace

double product_error(int width, double weights, double beta, double sum) {
  return spectrum::round_up(0x1p-53 * (2.0 * width * weights * beta + 2 * sum));
}

HeadRows folded_rows(HeadRows stored, const checkpoint::InputNorm& input) {
  stored.gain = input.gain;
  stored.project_mean = input.layer_norm;
  return stored;
}

void fold(const HeadRows& stored, const checkpoint::InputNorm& input,
          std::span<const double> projection_bias, spectrum::GramWorkspace& workspace, Folded& out,
          spectrum::GramPass pass) {
  pass.folded = &out.gram;
  out.finite = spectrum::gram_pass(folded_rows(stored, input), workspace, pass);
  finish_fold(stored, input, projection_bias, workspace, out);
}

void fold_given(const HeadRows& stored, const checkpoint::InputNorm& input,
                std::span<const double> projection_bias, const spectrum::Gram& gram,
                spectrum::GramWorkspace& workspace, Folded& out) {
  out.gram = gram;
  out.finite = true;
  finish_fold(stored, input, projection_bias, workspace, out);
}

void fold_precisely(const HeadRows& stored, const checkpoint::InputNorm& input,
                    std::span<const double> projection_bias, spectrum::GramWorkspace& workspace,
                    Folded& out) {
  out.finite = spectrum::gram(folded_rows(stored, input), spectrum::Arithmetic::precise, workspace,
                              out.gram);
  finish_fold(stored, input, projection_bias, workspace, out);
}

const char* refusal_of(std::initializer_list<const Folded*> sides) {
  const bool in_range = std::any_of(sides.begin(), sides.end(), [](const Folded* side) {
    return !side->finite && !side->out_of_range;
  });
  return in_range ? "weights are not finite" : "weights are out of the range that FP64 squares";
}

bounds::Side bounds_side(const Folded& folded, std::span<const double> rope_factor) {
  bounds::Side side;
  side.bias = folded.bias;
  side.inflation = folded.gram.inflation;
  side.bias_error = folded.bias_error;
  side.squared_norm = folded.input->squared_norm;
  side.width = folded.input->width;
  side.layer_norm = folded.input->layer_norm;
  if (rope_factor.empty()) {
    side.gram = folded.gram.values;
    return side;
  }
  side.gram = spectrum::scaled_symmetric(folded.gram.values, rope_factor);
  const double largest = *std::max_element(rope_factor.begin(), rope_factor.end());
  side.inflation = spectrum::round_up(side.inflation * largest * largest);
  side.bias_error = spectrum::round_up(side.bias_error * largest);
  for (std::size_t i = 0; i < side.bias.size(); ++i) side.bias[i] *= rope_factor[i];
  return side;
}

}  // namespace ullage::scan
