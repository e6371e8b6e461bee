// Certificates: bounds on |S| over every input the head can see, in exact arithmetic (tier 1).
//
// Sources: [R] Rank-Aware Spectral Bounds on Attention Logits (arXiv 2602.18851); "ours" what goes
// beyond it. The closed forms are functions of numbers that are themselves upper bounds; certify()
// computes those from the Grams with their inflations. Every result is rounded up.
#pragma once

#include <optional>
#include <string_view>

#include "ullage/base/result.h"
#include "ullage/bounds/figure.h"
#include "ullage/bounds/head.h"
#include "ullage/bounds/qk_norm.h"

namespace ullage::bounds {

// Upper bounds of what the closed forms read. sigma is about R = I; negative: not known.
struct HeadNorms {
  double query = 0.0;              // |A|_2
  double key = 0.0;                // |B|_2
  double sigma = -1.0;             // |A^T B|_2
  double query_bias = 0.0;         // |a|
  double key_bias = 0.0;           // |b|
  double query_at_key_bias = 0.0;  // |A^T b|
  double key_at_query_bias = 0.0;  // |B^T a|
  double bias_product = 0.0;       // |a^T b|
  double query_squared_norm = 0.0;
  double key_squared_norm = 0.0;
  double scale = 1.0;
};

// Fills the bias terms from the Grams: |A^T b|^2 = b^T (A A^T) b.
HeadNorms head_norms(const Head& head, double query, double key, double sigma);

// s (sqrt(d_q)|A| + |a|)(sqrt(d_k)|B| + |b|). [R] Proposition 3.1. Valid under every rotation.
double naive(const HeadNorms& norms);

// s (sqrt(d_q d_k)|A^T B| + sqrt(d_q)|A^T b| + sqrt(d_k)|B^T a| + |a^T b|). [R] Proposition 3.2;
// the bias terms are ours (expand q^T k, one Cauchy-Schwarz a term). Only where R = I.
double interaction(const HeadNorms& norms);

// Radii t, t' of the augmented bound: q = [A, a/t] [n; t] and |[n; t]|^2 <= d + t^2. 0: the side
// has no bias that matters.
struct Radii {
  double query = 0.0;
  double key = 0.0;
};

// With K = [[sqrt(d_q d_k)|A^T B|, sqrt(d_q)|A^T b|], [sqrt(d_k)|B^T a|, |a^T b|]]:
//   t^2 = d_q (row sum 2)/(row sum 1), t'^2 = d_k (column sum 2)/(column sum 1),
// a zero sum floored at 1e-6 of the other. Ours: with these the augmented bound is never worse than interaction, and
// within 1.06 of the best radii. Only where R = I.
Radii augmented_radii(const Head& head, const HeadNorms& norms);

// s sqrt(d_q + t^2) sqrt(d_k + t'^2) sigma_1([A, a/t]^T [B, b/t']). Ours. Only where R = I.
double augmented(const Head& head, const HeadNorms& norms);

// s min over D, t, t' of sqrt(d_q + t^2) sqrt(d_k + t'^2) |D [A, a/t]| |D^-1 [B, b/t']|, at the
// given point (spectrum::optimal_scaling's if null). Ours: D commutes with every R, so it holds at
// every offset.
double rotated(const Head& head, const spectrum::Scaling* scaling = nullptr);

// c tanh(x / c): what a soft cap leaves of a bound.
double soft_capped(double bound, double cap);

struct CertifyOptions {
  // Certified |A|_2, |B|_2, |A^T B|_2 where the caller has them already.
  std::optional<double> query_norm = std::nullopt;
  std::optional<double> key_norm = std::nullopt;
  std::optional<double> sigma = std::nullopt;
  // The rotated bound on the computed biases' score, score scale included, where the caller has one.
  std::optional<double> rotated = std::nullopt;
  // Of the rotated bound; null: spectrum::optimal_scaling's.
  const spectrum::Scaling* scaling = nullptr;
  // The norms behind the sides where Head::between says so: adds their closed form.
  const QkNormSide* query_qk_norm = nullptr;
  const QkNormSide* key_qk_norm = nullptr;
  double soft_cap = 0.0;       // 0: none
  double additive_bias = 0.0;  // largest |term| added to the score (ALiBi, T5 tables)
};

struct Certificates {
  HeadNorms norms;
  Figure naive, interaction, augmented, rope, qk_norm, clip;
  // The smallest of those above, and which: "naive", "interaction", "augmented", "rope", "qk_norm"
  // or "clip".
  double before_cap = 0.0;
  std::string_view by;
  double certificate = 0.0;    // after the soft cap, without the additive bias
  double additive_bias = 0.0;  // stands beside, never inside
};

// All certificates of a head and the smallest of them. Errors: not_finite where an entry of a Gram
// or a bias is not, value_invalid where sizes disagree.
Result<Certificates> certify(const Head& head, const CertifyOptions& options = {});

}  // namespace ullage::bounds
