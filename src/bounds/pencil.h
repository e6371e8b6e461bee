// The score of a token with itself, R = I: the cumulant of n^T M n + (u + w)^T n/m + c, M = A^T B.
//
// The eigenvalues mu of S = (M + M^T)/2 are those of 1/2 Z^T J Z, Z Z^T = [[G_A, C], [C^T, G_B]], J swapping
// halves. det(I - 2 l S) is the determinant of a Schur complement, so no matrix of twice the head's width is
// needed: with L L^T = G_A, X = L^T G_B L, K = L^T C^T L^-T,
//   psi(l) = -1/2 log det W(l) + l^2/2 (z^T W(l)^-1 z + rest) + l c,  W(l) = I - l (K + K^T) - l^2 (X - K K^T),
// z = v1 + l v2, and psi(-l) belongs to the negated score. A value costs one Cholesky factor.
//
// T is the arithmetic of the matrices. The product C that psi rests on carries BF16's rounding where a CPU multiplies that,
// so FP32 is fine enough for wide heads, unless G_A is close to singular (`resolved`).
#pragma once

#include <span>
#include <vector>

#include "bounds/chernoff.h"
#include "ullage/spectrum/panels.h"

namespace ullage::bounds {

using spectrum::Shape;
using spectrum::Square;
using spectrum::SquareOf;

// What both scores of a head share: its normalised Grams and biases (head_dim long) reduced once.
template <class T>
struct ReductionOf {
  ReductionOf(const spectrum::Matrix& query_gram, const spectrum::Matrix& key_gram,
              std::span<const double> query_bias, std::span<const double> key_bias);

  bool resolved = true;      // false: G_A is too close to singular for T, the rest is not made
  SquareOf<T> upper;         // R, R^T R = G_A (shifted where singular)
  SquareOf<T> lower;         // L = R^T
  SquareOf<T> x;             // L^T G_B L
  double sigma = 0.0;        // about the largest singular value of A^T B, never above it
  std::vector<double> a;     // empty: neither side has a bias
  std::vector<double> p, q;  // L^T b, L^T G_B a
  double key_at_query_bias = 0.0;  // |B^T a|^2
  double bias_product = 0.0;       // a^T b
};
using Reduction = ReductionOf<double>;

template <class T>
class PencilScore final : public Cumulant {
 public:
  // `cross` is A B^T, radial_mean is m.
  PencilScore(const ReductionOf<T>& head, const spectrum::Matrix& cross, double radial_mean);
  bool evaluate(double lambda, double& psi, double& slope) override;
  [[nodiscard]] double likely_limit(double sign) const override;

 private:
  bool value(double lambda, double& psi);
  SquareOf<T> linear_;           // K + K^T
  SquareOf<T> quadratic_;        // X - K K^T
  std::vector<double> v1_, v2_;  // empty: no bias
  double rest_ = 0.0;
  double shift_ = 0.0;
  double sigma_ = 0.0;
  double skew_ = 0.0;  // how one-sided the eigenvalues are, a guess from -1 to 1
  SquareOf<T> work_;
};

}  // namespace ullage::bounds
