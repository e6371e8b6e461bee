// The top of a symmetric matrix's spectrum, kept from one matrix to the next, similar one.
#pragma once

#include <vector>

#include "ullage/spectrum/dense.h"

namespace ullage::spectrum {

// Largest eigenvalues (descending) and their vectors as rows. Up to kExact rows all of them, by LAPACK; above, kBlock
// of them by one subspace iteration a call from where the last call ended, with Rayleigh-Ritz: estimates
// from below that follow a slowly changing matrix.
class TopSubspace {
 public:
  static constexpr int kExact = 32;
  static constexpr int kBlock = 8;
  explicit TopSubspace(int size);
  // One iteration for s; `iterations` of them on a first call.
  void update(const Matrix& s);
  [[nodiscard]] const std::vector<double>& values() const { return values_; }
  [[nodiscard]] const Matrix& vectors() const { return vectors_; }

 private:
  void orthonormalise(Matrix& block);
  bool fresh_ = true;
  std::vector<double> values_;
  Matrix vectors_;  // one a row
};

}  // namespace ullage::spectrum
