// X = L^T G_B L with L L^T = G_A: its eigenvalues are the squares of the singular values of A^T B.
#pragma once

#include "ullage/spectrum/panels.h"

namespace ullage::spectrum {

// Lower factor of g + shift I. Where that is not positive definite to working precision the shift grows by fours; false
// when a shift beyond the trace does not help (g is no Gram). shift 0 is tried once and not grown.
bool shifted_factor(const Square& g, double& shift, Square& lower);

// X from a lower factor (zeros above its diagonal) and a symmetric g_b.
Square product_form(const Square& lower, const Square& g_b);

}  // namespace ullage::spectrum
