// Householder reduction of a small symmetric matrix, and its eigenvalues by bisection on all lanes at once.
//
// LAPACK takes 262 us for the reduction at 128 x 128 and 236 us for the eigenvalues (Zen 4, OpenBLAS 0.3.21);
// these take 60 and 30.
#pragma once

#include <vector>

#include "ullage/spectrum/dense.h"
#include "ullage/spectrum/panels.h"

namespace ullage::spectrum {

// s = Q T Q^T; `vectors` are replaced by Q^T x. s symmetric and finite, entries of order one at most (what is
// below 1e-145 counts as zero).
Tridiagonal tridiagonalise(Square s, std::vector<std::vector<double>*> vectors = {});

// The same in FP32, for estimates: eigenvalues move by a few 1e-7 of the largest magnitude. In a quarter of the time.
Tridiagonal tridiagonalise_single(const Matrix& s);

// Eigenvalues in ascending order, each within `tolerance` of the largest magnitude (2^-50 at least).
std::vector<double> eigenvalues(const Tridiagonal& t, double tolerance = 0x1p-26);

// The same in FP32, within 2^-22.
std::vector<double> eigenvalues_single(const Tridiagonal& t);

// Eigenvalues of a small symmetric matrix, ascending, for estimates: in FP32 where it is wide enough for that to pay.
std::vector<double> estimated_eigenvalues(const Matrix& s);

}  // namespace ullage::spectrum
