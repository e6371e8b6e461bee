// What bounds know of one attention head: Gram matrices, biases, and what stands between
// projections and score.
//
// q = A n_q + a, k = B n_k + b, S_ij = scale q_i^T R_(j-i) k_j. A = W_Q,h diag(gain), times
// (I - 11^T/d) where the input comes from a LayerNorm; a = W_Q,h beta + b_q; the rotated rows of A,
// a, B, b hold RoPE's attention factor. Nothing here is as wide as the model.
#pragma once

#include <array>
#include <span>
#include <vector>

#include "ullage/spectrum/dense.h"
#include "ullage/spectrum/rope.h"

namespace ullage::bounds {

// One side of the score. A key side serves every query head of its group. Where the rows were
// scaled by 2^-e (spectrum::Gram::exponent), so is the bias, and Head::scale by 2^e.
struct Side {
  spectrum::Matrix gram;      // A A^T
  double inflation = 0.0;     // A A^T <= gram + inflation I, whatever was rounded on the way
  std::vector<double> bias;   // a; empty: zeros
  double bias_error = 0.0;    // |a - true a|, where a was computed from weights
  double squared_norm = 0.0;  // |n|^2 <= squared_norm: the width behind a normalisation
  int width = 0;              // n has this many coordinates
  bool layer_norm = false;    // n is orthogonal to the ones vector, and A is projected
};

// What stands between the projections and the score, besides a rotation.
enum class Between { nothing, qk_norm, clip, qk_norm_and_clip };

struct Head {
  const Side& query;
  const Side& key;
  const spectrum::Matrix* cross = nullptr;  // A B^T; null: no figure about a token with itself
  // The pairs that R turns; null: R = I. Frequencies are not read.
  const spectrum::Rotation* rotation = nullptr;
  bool rotation_unknown = false;  // R turns pairs that are not known: only products of norms hold
  double attention_factor = 1.0;  // already in gram, bias and cross; clip limits need it again
  double scale = 1.0;             // |score scale|, times the largest temperature of a position
  bool cross_attention = false;   // queries and keys come from different tokens: no diagonal
  // qk_norm: the sides are the norm's own gain and bias (qk_norm.h), not the projections'.
  Between between = Between::nothing;
  double clip = 0.0;  // |q_c|, |k_c| <= clip before RoPE; 0: none
};

// gram + inflation I.
spectrum::Matrix inflated(const Side& side);

// The pairs that turn; none where R = I.
std::span<const std::array<int, 2>> pairs_of(const Head& head);

// Which group (pair, or coordinate that does not turn) each coordinate belongs to: groups are
// numbered from 0, pairs first.
struct Groups {
  std::vector<int> of_coordinate;
  int count = 0;
};
Groups groups_of(int head_dim, std::span<const std::array<int, 2>> pairs);

}  // namespace ullage::bounds
