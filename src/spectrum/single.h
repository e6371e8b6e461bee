// A symmetric matrix in FP32, for estimates: half the memory traffic of FP64, which is what bounds these products.
#pragma once

#include <span>
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
  // y = m x, and rows of y = rows of x times m, `count` of them.
  void multiply(const float* x, float* y) const;
  void multiply_rows(const float* x, int count, float* y) const;

  // Largest eigenvalue of D m D (D = 1 where d is empty), of the matrix as given.
  [[nodiscard]] double largest(std::span<const double> d = {}) const;

 private:
  template <class Row>
  void fill(int size, Row row);
  int size_ = 0;
  int stride_ = 0;
  int half_exponent_ = 0;
  std::vector<float, PooledAllocator<float>> values_;
};

// Largest eigenvalue of a Gram or what is made of one: an estimate to about 1e-6 of itself, of small ones better.
double largest_estimate(const Matrix& m);
double largest_estimate(const Square& m);

}  // namespace ullage::spectrum
