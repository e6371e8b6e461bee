#include "spectrum/product_form.h"

#include <algorithm>

namespace ullage::spectrum {

bool shifted_factor(const Square& g, double& shift, Square& lower) {
  constexpr int kAttempts = 30;  // four to this power takes a rounding error beyond the trace
  constexpr double kWiden = 4.0;
  for (int attempt = 0; attempt < kAttempts; ++attempt, shift *= kWiden) {
    Square upper = g;
    for (int i = 0; i < g.size(); ++i) upper(i, i) += shift;
    if (factor(upper)) {
      for (int i = 0; i < upper.extent(); ++i) std::fill_n(upper.row(i), i, 0.0);
      lower = transposed(upper);
      return true;
    }
    if (shift == 0.0) return false;
  }
  return false;
}

Square product_form(const Square& lower, const Square& g_b) {
  return symmetric_product(lower, Shape::lower,
                           transposed_product(g_b, Shape::full, lower, Shape::lower));
}

}  // namespace ullage::spectrum
