// The cumulant of the score of two different tokens where R = I.
#pragma once

#include <vector>

#include "bounds/chernoff.h"
#include "ullage/spectrum/tridiagonal.h"

namespace ullage::bounds {

using spectrum::Square;
using spectrum::Tridiagonal;

// With X = L^T G_B L, L L^T = G_A, and p = L^T b, q = L^T G_B a:
//   psi(l) = -1/2 log det(I - l^2 X) + l^2/2 [p^T Z p + |B^T a|^2 + l^2 q^T Z q + 2 l p^T Z q] + l c,
// Z = (I - l^2 X)^-1, c = a^T b: the eigenvalues of X are the squares of the singular values of A^T B. X is reduced to
// tridiagonal form once; then a value and its slope are one pass over head_dim pivots.
class PlainScore final : public Cumulant {
 public:
  // sigma is about the root of X's largest eigenvalue; p and q are empty where there is no bias.
  PlainScore(const Square& x, double sigma, std::vector<double> p, std::vector<double> q,
             double key_at_query_bias_squared, double bias_product);
  bool evaluate(double lambda, double& psi, double& slope) override;
  [[nodiscard]] double likely_limit(double /*sign*/) const override { return limit_; }
  [[nodiscard]] bool even() const { return p_.empty(); }  // psi(-l) = psi(l)

 private:
  Tridiagonal form_;
  std::vector<double> p_, q_;
  double constant_;  // |B^T a|^2
  double shift_;     // c
  double limit_;
};

}  // namespace ullage::bounds
