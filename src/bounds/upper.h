// Norms from above, out of Grams and vectors: what certificates are put together from.
#pragma once

#include <span>

#include "ullage/bounds/head.h"

namespace ullage::bounds {

// >= |x|.
double upper_norm(std::span<const double> x);
// >= |x^T y|.
double upper_product(std::span<const double> x, std::span<const double> y);
// >= |A^T x| of a side's A: x^T (A A^T) x, with the side's inflation and the rounding of the sum.
double upper_image(const Side& side, std::span<const double> x);
// >= the 2-norm of rows `i` and `j` of A (the same row twice: of that row).
double upper_pair_norm(const Side& side, int i, int j);
// >= |DA| and >= |D^-1 A| (`inverse`), D given as one number a coordinate.
double upper_scaled_norm(const Side& side, std::span<const double> scaling, bool inverse);

// Empty, or why the side cannot be bounded: a number that is not finite, or sizes that disagree.
Status check_side(const Side& side, const char* name);

}  // namespace ullage::bounds
