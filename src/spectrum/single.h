// A symmetric matrix in FP32, for estimates: half the memory traffic of FP64, which is what bounds these products.
#pragma once

#include <vector>

#include "ullage/spectrum/dense.h"
#include "ullage/spectrum/panels.h"

namespace ullage::spectrum {

class SingleSymmetric {
 public:
  SingleSymmetric() = default;
  // m times 4^-half_exponent(), which brings its largest entry near one.
  explicit SingleSymmetric(const Matrix& m);
  explicit SingleSymmetric(const Square& m);

  [[nodiscard]] int size() const { return size_; }
  [[nodiscard]] int half_exponent() const { return half_exponent_; }
  // Vectors have this many entries, zeros beyond size().
  [[nodiscard]] int padded() const;
  // The entries, rows stride() apart, for algorithms that work in place.
  float* data() { return values_.data(); }
  [[nodiscard]] int stride() const { return stride_; }
  // The largest sum of a row's magnitudes: a bound on the 2-norm.
  [[nodiscard]] double row_sum() const;
  // y = m x, and the same for eight vectors, padded() apart.
  void multiply(const float* x, float* y) const;
  void multiply_block(const float* x, float* y) const;

 private:
  template <class Row>
  void fill(int size, Row row);
  int size_ = 0;
  int stride_ = 0;
  int half_exponent_ = 0;
  std::vector<float, PooledAllocator<float>> values_;
};

// FP32 Ritz values move by this much, relative to themselves, from rounding alone. At 2e-7 some recurrences already stop on
// a plateau below the largest eigenvalue (seen: a norm short by 1e-3).
inline constexpr double kSingleTolerance = 3e-8;

// Largest eigenvalue of a Gram or what is made of one: an estimate to about 1e-6 of itself, of small ones better.
double largest_estimate(const Matrix& m);
double largest_estimate(const Square& m);

}  // namespace ullage::spectrum
