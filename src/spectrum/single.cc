#include "spectrum/single.h"

#include <cblas.h>

#include <algorithm>
#include <cmath>

#include "spectrum/lanczos.h"
#include "spectrum/lapack.h"

namespace ullage::spectrum {

namespace {

// FP32 Ritz values move by this much from rounding alone.
constexpr double kTolerance = 3e-8;
// Up to this size FP64 costs no more.
constexpr int kSmall = 48;

double largest_of_small(const double* m, int size, int stride) {
  one_blas_thread();
  if (size == 0) return 0.0;
  return lanczos_largest<double>(size, 1e-12, [&](const double* x, double* y) {
    cblas_dgemv(CblasRowMajor, CblasNoTrans, size, size, 1.0, m, stride, x, 1, 0.0, y, 1);
  });
}

}  // namespace

template <class Row>
void SingleSymmetric::fill(int size, Row row) {
  one_blas_thread();
  size_ = size;
  stride_ = size + 16;  // rows of a power of two would share cache sets
  values_.resize(static_cast<std::size_t>(size) * static_cast<std::size_t>(stride_));
  double largest = 0.0;
  for (int i = 0; i < size; ++i) {
    // A Gram has its largest entry on the diagonal.
    largest = std::max(largest, std::abs(row(i)[i]));
  }
  half_exponent_ = largest > 0.0 && std::isfinite(largest) ? std::ilogb(largest) / 2 : 0;
  const double half = std::ldexp(1.0, -half_exponent_);
  for (int i = 0; i < size; ++i) {
    const double* from = row(i);
    float* to = values_.data() + static_cast<std::ptrdiff_t>(i) * stride_;
    for (int j = 0; j < size; ++j) to[j] = static_cast<float>(from[j] * half * half);
  }
}

SingleSymmetric::SingleSymmetric(const Matrix& m) {
  fill(m.rows(), [&](int i) { return m.row(i).data(); });
}

SingleSymmetric::SingleSymmetric(const Square& m) {
  fill(m.size(), [&](int i) { return m.row(i); });
}

void SingleSymmetric::multiply(const float* x, float* y) const {
  cblas_sgemv(CblasRowMajor, CblasTrans, size_, size_, 1.0F, values_.data(), stride_, x, 1, 0.0F, y,
              1);
}

void SingleSymmetric::multiply_rows(const float* x, int count, float* y) const {
  cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, count, size_, size_, 1.0F, x, size_,
              values_.data(), stride_, 0.0F, y, size_);
}

double SingleSymmetric::largest(std::span<const double> d) const {
  if (size_ == 0) return 0.0;
  const auto n = static_cast<std::size_t>(size_);
  std::vector<float> scale(d.begin(), d.end());
  std::vector<float> scaled(n);
  const double value = lanczos_largest<float>(size_, kTolerance, [&](const float* x, float* y) {
    if (scale.empty()) return multiply(x, y);
    for (std::size_t i = 0; i < n; ++i) scaled[i] = scale[i] * x[i];
    multiply(scaled.data(), y);
    for (std::size_t i = 0; i < n; ++i) y[i] *= scale[i];
  });
  return std::ldexp(value, 2 * half_exponent_);
}

double largest_estimate(const Matrix& m) {
  return m.rows() > kSmall ? SingleSymmetric(m).largest()
                           : largest_of_small(m.data(), m.rows(), m.rows());
}

double largest_estimate(const Square& m) {
  return m.size() > kSmall ? SingleSymmetric(m).largest()
                           : largest_of_small(m.row(0), m.size(), m.stride());
}

}  // namespace ullage::spectrum
