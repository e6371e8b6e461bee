// Multi-head latent attention: S = s (n_q^T A_n^T B_n n_kv + n_q^T A_r^T R B_r n + ...). The query
// and the latent have norms of their own, the rotary key reads the block's input. Ours.
#pragma once

#include <string_view>

#include "ullage/base/result.h"
#include "ullage/bounds/head.h"

namespace ullage::bounds {

struct LatentHead {
  const Side& query;     // rows of A_n, then rows of A_r: one Gram over all of them; no bias
  const Side& key_nope;  // B_n, reads the normed latent; no bias (none survives its inner norm)
  const Side& key_rope;  // B_r, common to all heads; its bias is that of the rotary key
  const spectrum::Rotation& rotation;  // of the rope part, coordinates from 0
  bool rotation_unknown = false;
  double scale = 1.0;
};

struct LatentOptions {
  const spectrum::Scaling* scaling = nullptr;  // of the rope part; null: optimal_scaling's
  double soft_cap = 0.0;
};

struct LatentCertificates {
  double sum = 0.0;
  double joint = 0.0;
  double before_cap = 0.0;  // the smaller
  std::string_view by;      // "latent_sum" or "latent_joint"
  double certificate = 0.0;
};

// sum:
//   s sqrt(d_q)(sqrt(d_kv)|A_n^T B_n| + |D A_r| kappa), kappa = sqrt(d)|D^-1 B_r| + |D^-1 b_r|.
// joint:
//   s sqrt(d_q) min over 0 < w < 1 of lambda_max(X_1/w + X_2/(1 - w))^(1/2),
//   X_1 = d_kv A_n^T B_n B_n^T A_n,
//   X_2 = kappa^2 A_r^T D^2 A_r:
// both parts see one n_q, and (x + y)^2 <= x^2/w + y^2/(1 - w), so every w is valid. From Grams:
// A^T diag(P, Q) A has the eigenvalues of L^T diag(P, Q) L, L L^T = A A^T.
//
// Errors: not_finite, value_invalid (sizes disagree, a bias where none can be).
Result<LatentCertificates> certify_latent(const LatentHead& head,
                                          const LatentOptions& options = {});

}  // namespace ullage::bounds
