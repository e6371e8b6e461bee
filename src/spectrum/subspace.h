// The top of a symmetric matrix's spectrum, kept from one matrix to the next, similar one.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "spectrum/symmetric_kernels.h"
#include "ullage/spectrum/dense.h"

namespace ullage::spectrum {

// Largest eigenvalues (descending) and their vectors as rows. Up to kExact rows all of them, by LAPACK; above, kBlock
// of them by one subspace iteration a call from where the last call ended, with Rayleigh-Ritz: estimates
// from below that follow a slowly changing matrix.
class TopSubspace {
 public:
  static constexpr int kExact = 32;
  static constexpr int kBlock = kSymmetricBlock;
  explicit TopSubspace(int size);
  // Whether update() is to be given the matrix itself, or its product with a block of vectors.
  [[nodiscard]] bool exact() const { return size_ <= kExact; }
  void update(const Matrix& s);
  // One iteration (more on a first call): apply(x, y) sets y = S x for kBlock vectors, padded_lanes(size) apart, FP32.
  void update(const std::function<void(const float* x, float* y)>& apply);
  [[nodiscard]] const std::vector<double>& values() const { return values_; }
  [[nodiscard]] const Matrix& vectors() const { return vectors_; }

 private:
  void start(int row, std::uint64_t seed);
  void orthonormalise();
  void orthonormalise_slowly();
  [[nodiscard]] Matrix products(const std::vector<float>& x, const std::vector<float>& y) const;
  [[nodiscard]] float* row(std::vector<float>& block, int i) const;
  [[nodiscard]] const float* row(const std::vector<float>& block, int i) const;

  int size_;
  bool fresh_ = true;
  std::vector<double> values_;
  Matrix vectors_;            // one a row
  std::vector<float> block_;  // the same in FP32, padded; before the last turn
  std::vector<float> image_;  // S block_
};

}  // namespace ullage::spectrum
