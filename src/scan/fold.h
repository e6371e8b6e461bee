// One side of one head folded: Gram, bias and norms of A = W diag(gain) P, a = W beta + b.
#pragma once

#include <initializer_list>
#include <vector>

#include "ullage/bounds/head.h"
#include "ullage/bounds/rounded.h"
#include "ullage/checkpoint/attention.h"
#include "ullage/spectrum/certificate.h"
#include "ullage/spectrum/gram.h"

namespace ullage::scan {

struct Folded {
  bool finite = false;
  bool out_of_range = false;    // not finite, though all that it was made of is
  spectrum::Gram gram;          // of A, no RoPE factor
  spectrum::Bounded norm;       // |A|_2
  std::vector<double> bias;     // a, no RoPE factor; empty: zeros
  double bias_error = 0;        // |a - its exact value|
  bounds::RoundedSide rounded;  // norms without the LayerNorm projection, for rounded passes
  const checkpoint::InputNorm* input = nullptr;
};

// What a computed W beta + b may be off by, of one row or, in 2-norms, of several: row_products leaves 2 width u |row||beta|
// a row, the addition u |sum|.
double product_error(int width, double weights, double beta, double sum);

spectrum::HeadRows folded_rows(spectrum::HeadRows stored, const checkpoint::InputNorm& input);

// `out.finite` is false when a weight, a gain or a bias of the head is NaN or infinite, or all FP64 and so large or small
// that their squares are not. Reuses out's memory. The same reading of the rows makes what `pass` asks for besides.
void fold(const spectrum::HeadRows& stored, const checkpoint::InputNorm& input,
          std::span<const double> projection_bias, spectrum::GramWorkspace& workspace, Folded& out,
          spectrum::GramPass pass = {});
// The same where the Gram of the folded rows is there.
void fold_given(const spectrum::HeadRows& stored, const checkpoint::InputNorm& input,
                std::span<const double> projection_bias, const spectrum::Gram& gram,
                spectrum::GramWorkspace& workspace, Folded& out);
// The same in FP64.
void fold_precisely(const spectrum::HeadRows& stored, const checkpoint::InputNorm& input,
                    std::span<const double> projection_bias, spectrum::GramWorkspace& workspace,
                    Folded& out);

// Why there are no figures where one of the sides is not finite.
const char* refusal_of(std::initializer_list<const Folded*> sides);

// The folded side as bounds take it, with RoPE's factor (empty: ones) on its rows.
bounds::Side bounds_side(const Folded& folded, std::span<const double> rope_factor);

}  // namespace ullage::scan
