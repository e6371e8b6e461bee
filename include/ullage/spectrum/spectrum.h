// Exact spectra of M = A^T B from the Grams of A and B, to FP64's accuracy of the Grams given.
//
// With G = L L^T the singular values of M are those of L_A^T L_B. A relative error e of the Grams
// moves sigma by about e |A||B| where sigma is near |A||B|, but by sqrt(e) |A||B| where sigma is
// far below it: such heads need precise Grams (needs_precise).
#pragma once

#include <vector>

#include "ullage/spectrum/certificate.h"
#include "ullage/spectrum/dense.h"

namespace ullage::spectrum {

// All min(rows) singular values of A^T B, descending.
std::vector<double> singular_values_of_product(const Matrix& g_a, const Matrix& g_b);

// The largest of them: an estimate, to about 1e-6 of itself (certified_sigma bounds it).
double sigma_of_product(const Matrix& g_a, const Matrix& g_b);

// |A|_2 = sqrt(largest eigenvalue): an estimate, to about 1e-6 of itself.
double norm_of(const Matrix& g);

// Whether fast Grams were too coarse for this head: sigma under 1e-2 |A||B|, where its accuracy of 1e-5 |A||B| is lost,
// or a certificate more than 0.5 % above it.
bool needs_precise(const Bounded& sigma, const Bounded& a, const Bounded& b);

}  // namespace ullage::spectrum
