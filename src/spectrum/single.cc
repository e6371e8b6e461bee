#include "spectrum/single.h"

#include <algorithm>
#include <cmath>

#include "spectrum/entries.h"
#include "spectrum/lanczos.h"
#include "spectrum/symmetric_kernels.h"

namespace ullage::spectrum {

namespace {

double largest_of_small(const Square& m) {
  if (m.size() == 0) return 0.0;
  const auto multiply = symmetric_kernels<double>().multiply;
  return lanczos_largest<double>(m.size(), m.extent(), 1e-12, [&](const double* x, double* y) {
    multiply(m.row(0), m.stride(), m.size(), x, y);
  });
}

double largest_of(const SingleSymmetric& m) {
  const double value = lanczos_largest<float>(m.size(), m.padded(), kSingleTolerance,
                                              [&](const float* x, float* y) { m.multiply(x, y); });
  return std::ldexp(value, 2 * m.half_exponent());
}

}  // namespace

template <class Row>
void SingleSymmetric::fill(int size, Row row) {
  size_ = size;
  stride_ = padded_lanes(size) + kSymmetricLanes;  // rows of a power of two would share cache sets
  values_.resize(static_cast<std::size_t>(size) * static_cast<std::size_t>(stride_));
  double largest = 0.0;
  for (int i = 0; i < size; ++i) {
    // A Gram has its largest entry on the diagonal.
    largest = std::max(largest, std::abs(row(i)[i]));
  }
  half_exponent_ = largest > 0.0 && std::isfinite(largest) ? std::ilogb(largest) / 2 : 0;
  const double half = std::ldexp(1.0, -half_exponent_);
  const auto narrow = entry_kernels().narrow;
  for (int i = 0; i < size; ++i) {
    const double* from = row(i);
    float* to = values_.data() + static_cast<std::ptrdiff_t>(i) * stride_;
    narrow(from, half, to, static_cast<std::size_t>(size));
    std::fill(to + size, to + stride_, 0.0F);
  }
}

SingleSymmetric::SingleSymmetric(const Matrix& m) {
  fill(m.rows(), [&](int i) { return m.row(i).data(); });
}

SingleSymmetric::SingleSymmetric(const Square& m) {
  fill(m.size(), [&](int i) { return m.row(i); });
}

int SingleSymmetric::padded() const { return padded_lanes(size_); }

double SingleSymmetric::row_sum() const {
  // Symmetric: sums down the columns are those along the rows.
  std::vector<float> sums(static_cast<std::size_t>(stride_));
  for (int i = 0; i < size_; ++i) {
    const float* row = values_.data() + static_cast<std::ptrdiff_t>(i) * stride_;
    for (int j = 0; j < stride_; ++j) sums[static_cast<std::size_t>(j)] += std::abs(row[j]);
  }
  return static_cast<double>(*std::max_element(sums.begin(), sums.end()));
}

void SingleSymmetric::multiply(const float* x, float* y) const {
  symmetric_kernels<float>().multiply(values_.data(), stride_, size_, x, y);
}

void SingleSymmetric::multiply_block(const float* x, float* y) const {
  symmetric_kernels<float>().multiply_block(values_.data(), stride_, size_, x, y);
}

double largest_estimate(const Matrix& m) {
  return m.rows() > kSingleFrom ? largest_of(SingleSymmetric(m)) : largest_of_small(Square(m));
}

double largest_estimate(const Square& m) {
  return m.size() > kSingleFrom ? largest_of(SingleSymmetric(m)) : largest_of_small(m);
}

}  // namespace ullage::spectrum
