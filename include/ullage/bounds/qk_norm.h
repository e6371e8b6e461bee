// QK-norm: the norm rescales q and k, so bounds built on W_Q and W_K are void and the norm's own
// gain takes their place: A := diag(g_q), a := beta_q, with |n|^2 <= head_dim (or the full width).
// Ours.
#pragma once

#include <array>
#include <span>
#include <vector>

#include "ullage/bounds/head.h"

namespace ullage::bounds {

struct QkNormSide {
  std::span<const double> gain;  // this head's slice
  std::span<const double> bias;  // empty: zeros
  int width = 0;  // the norm runs over so many coordinates: head_dim, or heads * head_dim
  bool layer_norm = false;
};

// Side of a head behind a QK-norm. LayerNorm projects: gram = diag(g) (I - 11^T/width) diag(g).
// Multiply gain and bias by RoPE's attention factor first where it follows the norm.
Side side_of(const QkNormSide& norm);

// The closed form, and the largest |q_c| of every coordinate:
//   s [sqrt(D_q D_k) max_p G_q,p G_k,p + sqrt(D_q)|G_q b_k| + sqrt(D_k)|G_k b_q|
//      + sum_p b_q,p b_k,p],
// G_p the larger |g| of pair p, b_p the 2-norm of beta there. Where no rotation follows the norm
// (`pairs` empty), single coordinates, and |beta_q^T beta_k| as last term. Each term is one
// Cauchy-Schwarz; a rotation mixes only within pairs.
double qk_norm_bound(const QkNormSide& query, const QkNormSide& key,
                     std::span<const std::array<int, 2>> pairs, double scale);

// sqrt(D) max|g| of the pair + |beta_p|; a coordinate that is not rotated afterwards behind a
// per-head LayerNorm: sqrt(D - 1)|g_c| + |beta_c|.
std::vector<double> qk_norm_amax(const QkNormSide& side, std::span<const std::array<int, 2>> pairs);

}  // namespace ullage::bounds
