// D [A, a/t] of one side of a score, by its Gram's products with vectors in FP32: for searches, which try many D and t.
#pragma once

#include <span>
#include <vector>

#include "spectrum/single.h"
#include "ullage/spectrum/rope.h"

namespace ullage::spectrum {

class ScaledSide {
 public:
  explicit ScaledSide(const Side& side) : side_(&side), gram_(*side.gram) {}

  // The D and t of what follows; t 0: no column.
  void set(std::span<const double> d, double t);
  // y = D (A A^T + a a^T / t^2) D x in units of scale(), for one vector or a block (SingleSymmetric).
  void multiply(const float* x, float* y);
  void multiply_block(const float* x, float* y);
  [[nodiscard]] double scale() const;

  // |D [A, a/t]|_2, an estimate.
  [[nodiscard]] double norm();

 private:
  void add_column(const float* x, float* y) const;
  const Side* side_;
  SingleSymmetric gram_;
  std::vector<float> d_;       // padded
  std::vector<float> column_;  // D a / t in the Gram's units, padded; empty: none
  std::vector<float> scaled_;  // D x
};

}  // namespace ullage::spectrum
