// Pieces that the searches over D and over offsets share.
#pragma once

#include <span>
#include <vector>

#include "ullage/spectrum/rope.h"

namespace ullage::spectrum {

inline bool has_bias(const Side& side) {
  for (const double value : side.bias) {
    if (value != 0.0) return true;
  }
  return false;
}

// The Gram of [A, a/t], or of A where t is 0.
Matrix augmented_gram(const Side& side, double t);
// The same without a copy where nothing is added: in `room`, or the side's own.
const Matrix& augmented_gram(const Side& side, double t, Matrix& room);

// sqrt(r^2 + t^2).
double column_factor(const Side& side, double t);

std::vector<double> inverses(std::span<const double> d);

}  // namespace ullage::spectrum
