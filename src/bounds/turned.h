// The cumulant of the score of two different tokens under any rotation of pairs.
#pragma once

#include <vector>

#include "bounds/chernoff.h"

namespace ullage::bounds {

// Any R that turns pairs. pi_k = sigma_k(DA) sigma_k(D^-1 B), both sorted: the singular values of
// A^T R B are log-majorised by pi whatever R does, and psi is convex and rising in their logarithms:
//   psi(l) = -1/2 sum log(1 - l^2 pi_k^2) + l^2/2 (U^2 + W^2)/(1 - l pi_1) + l c, l >= 0,
// U = |DA||D^-1 b|, W = |D^-1 B||Da|, c = sum over pairs of |a_p||b_p|; the same for both signs.
class TurnedScore final : public Cumulant {
 public:
  // Eigenvalues of D G_A D and D^-1 G_B D^-1, in one order.
  TurnedScore(std::vector<double> query_values, const std::vector<double>& key_values,
              double bias_squares, double bias_product);
  bool evaluate(double l, double& psi, double& slope) override;
  [[nodiscard]] double likely_limit(double sign) const override;

 private:
  std::vector<double> squares_;  // pi_k^2
  double largest_ = 0.0;         // pi_1
  double bias_squares_;
  double shift_;
};

}  // namespace ullage::bounds
