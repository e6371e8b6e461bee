// The largest entries of Q, K and V: what an FP8 attention kernel quantises, after QK-norm,
// clipping and RoPE. Certificates and expected figures.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "ullage/bounds/head.h"

namespace ullage::bounds {

// What bounds one coordinate: |A_p|_2 of the rows that reach it and |a_p|, both from above.
struct Rows {
  double norm = 0.0;
  double bias = 0.0;
};

// One entry a coordinate of the side. A coordinate of a pair has the pair's norm (closed form of
// its 2 x 2 Gram), since RoPE can turn all of it into one coordinate.
std::vector<Rows> rows_of(const Side& side, std::span<const std::array<int, 2>> pairs);

// The same before RoPE: each row alone, without the attention factor that pairs hold.
std::vector<Rows> rows_before_rope(const Side& side, std::span<const std::array<int, 2>> pairs,
                                   double attention_factor);

// Of a projection of which only the squared row norms are known (from above): V needs no Gram.
std::vector<Rows> rows_of(std::span<const double> squared_norms, std::span<const double> bias);

// The pairs of a rotated part that begins at coordinate `first` of a longer side (latent heads).
std::vector<std::array<int, 2>> shifted(std::span<const std::array<int, 2>> pairs, int first);

// max over coordinates of sqrt(d)|A_p| + |a_p|. Ours: Cauchy-Schwarz, and a rotation keeps a pair's
// length. Behind a QK-norm: the rows of side_of().
double amax(std::span<const Rows> rows, double squared_norm);

// Behind clip_qkv: min(sqrt(d)|A_p| + |a_p|, length of the pair's limits r_c of clip.h) after RoPE,
// so at most sqrt(2) c times the attention factor. Before it: min(c, sqrt(d)|A_c| + |a_c|).
double clipped_amax(const Head& head, const Side& side);
double clipped_amax_before_rope(const Head& head, const Side& side);
// Of values: min(c, amax).
double clipped_amax(double amax, double clip);

// Expected (isotropic model): the smallest t with
//   sum over coordinates of 2 N exp(-max(t - |a_p|, 0)^2 / (2 |A_p|^2)) <= P
// over all coordinates that share one scale; behind a LayerNorm |A_p| sqrt(d/(d - 1)). Ours: each
// rotated coordinate of a token is one linear form of n, sub-Gaussian on the sphere. Not clamped:
// the smaller of this and the certificate is the figure to show.
double expected_amax(std::span<const Rows> rows, int width, bool layer_norm, std::int64_t context,
                     double probability);

// The output of attention before W_O: rows of P sum to one, so amax(V); 1/(1 - p_drop) under
// dropout, 1 + u where the numerator uses probabilities rounded with unit u.
double output_amax(double value_amax, double dropout, double probability_unit);

// After W_O: |y_c| <= sum over heads of (sqrt(d)|(W_O,h A_V,h)_c| + |(W_O,h a_V,h)_c|) + |b_O,c|;
// `heads` holds one head's product row and bias each.
double output_projection_amax(std::span<const Rows> heads, double squared_norm, double bias);

}  // namespace ullage::bounds
