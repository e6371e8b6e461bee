// Bounds from above that floating point cannot break: spectral norms from Grams, proved by a
// Cholesky factor.
//
// If Cholesky of tau I - X runs to its end, X <= tau I up to its backward error, whatever tau was guessed
// from: an eigenvalue estimate decides how tight the bound is, never whether it holds. Residual bounds and
// Rayleigh quotients prove nothing about the largest eigenvalue and are not used.
//
// Every g here is symmetric and positive semidefinite up to rounding: the Gram of some rows or above it
// (`inflated`), also after D g D or g + a a^T / t^2 in FP64. The bounds hold for every A with
//   A A^T <= g + 16 u trace(g) I,   u = 2^-53.
// They are rounded up, infinite where FP64 ends, 0 for zero matrices, NaN only if g holds one.
#pragma once

#include <span>

#include "ullage/spectrum/dense.h"
#include "ullage/spectrum/gram.h"

namespace ullage::spectrum {

// A number as good arithmetic gives it, and a bound that it and the true one cannot exceed.
struct Bounded {
  double estimate = 0.0;
  double bound = 0.0;
};

// |A|_2 and |A^T B|_2. An estimate of |A|_2 that is known already saves making one; how good it is decides how tight the
// bound is, not whether it holds.
Bounded bounded_norm(const Matrix& g_a, double known_estimate = 0.0);
Bounded bounded_sigma(const Matrix& g_a, const Matrix& g_b);
inline double certified_norm(const Matrix& g_a, double known_estimate = 0.0) {
  return bounded_norm(g_a, known_estimate).bound;
}
inline double certified_sigma(const Matrix& g_a, const Matrix& g_b) {
  return bounded_sigma(g_a, g_b).bound;
}

// The same of Grams with their errors and exponents: the estimates are of G^ itself, the bounds are
// sqrt(s^2 + h) and sqrt(s^2 + h_a |B|^2 + h_b |A|^2), s the bound above and h the inflations. `a` and
// `b` are what bounded_norm gave of the two.
Bounded bounded_norm(const Gram& gram);
Bounded bounded_sigma(const Gram& gram_a, const Bounded& a, const Gram& gram_b, const Bounded& b);

// g + a a^T / t^2, the Gram of [A, a/t].
Matrix with_column(const Matrix& g, std::span<const double> a, double t);

// x (1 + 64 u) rounded up, 0 for 0: the last step of every certificate.
double round_up(double x);

}  // namespace ullage::spectrum
