#include "spectrum/subspace.h"

#include <lapacke.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "spectrum/lanczos.h"
#include "spectrum/lapack.h"

namespace ullage::spectrum {

namespace {

// Of a first call: from a random block to useful vectors.
constexpr int kFirstIterations = 6;

std::size_t at(int i) { return static_cast<std::size_t>(i); }

}  // namespace

TopSubspace::TopSubspace(int size) : size_(size) {
  if (exact()) return;
  vectors_ = Matrix(kBlock, size);
  block_.resize(at(kBlock) * at(padded_lanes(size)));
  image_.resize(block_.size());
  for (int i = 0; i < kBlock; ++i) start(i, static_cast<std::uint64_t>(i) + 1);
  orthonormalise_slowly();
}

float* TopSubspace::row(std::vector<float>& block, int i) const {
  return block.data() + static_cast<std::ptrdiff_t>(i) * padded_lanes(size_);
}

const float* TopSubspace::row(const std::vector<float>& block, int i) const {
  return block.data() + static_cast<std::ptrdiff_t>(i) * padded_lanes(size_);
}

void TopSubspace::start(int i, std::uint64_t seed) {
  std::vector<double> values(at(size_));
  fill_start(values, seed);
  std::transform(values.begin(), values.end(), row(block_, i),
                 [](double value) { return static_cast<float>(value); });
}

// x y^T of two blocks.
Matrix TopSubspace::products(const std::vector<float>& x, const std::vector<float>& y) const {
  Matrix out(kBlock, kBlock);
  for (int i = 0; i < kBlock; ++i) {
    for (int j = i; j < kBlock; ++j) {
      out(i, j) = out(j, i) =
          static_cast<double>(lane_dot(row(x, i), row(y, j), at(padded_lanes(size_))));
    }
  }
  return out;
}

// By the Cholesky factor of the block's Gram; where rows are close to dependent, one after the other.
void TopSubspace::orthonormalise() {
  constexpr double kLeastPivot = 1e-4;  // of a row's own square: FP32 leaves no more to rely on
  const Matrix gram = products(block_, block_);
  const std::ptrdiff_t width = padded_lanes(size_);
  Matrix lower(kBlock, kBlock);
  for (int i = 0; i < kBlock; ++i) {
    for (int j = 0; j <= i; ++j) {
      double rest = gram(i, j);
      for (int k = 0; k < j; ++k) rest -= lower(i, k) * lower(j, k);
      if (i != j) {
        lower(i, j) = rest / lower(j, j);
        continue;
      }
      if (!(rest > kLeastPivot * gram(i, i)) || !std::isfinite(rest))
        return orthonormalise_slowly();
      lower(i, i) = std::sqrt(rest);
    }
  }
  for (int i = 0; i < kBlock; ++i) {
    float* to = row(block_, i);
    for (int k = 0; k < i; ++k) {
      const auto part = static_cast<float>(lower(i, k));
      const float* from = row(block_, k);
      for (std::ptrdiff_t c = 0; c < width; ++c) to[c] -= part * from[c];
    }
    const auto inverse = static_cast<float>(1.0 / lower(i, i));
    for (std::ptrdiff_t c = 0; c < width; ++c) to[c] *= inverse;
  }
}

// Gram-Schmidt, twice where the first pass cancels; a row that vanishes is started anew.
void TopSubspace::orthonormalise_slowly() {
  const std::size_t width = at(padded_lanes(size_));
  for (int i = 0; i < kBlock; ++i) {
    for (int attempt = 0; attempt < 4; ++attempt) {
      float* to = row(block_, i);
      const double before = std::sqrt(static_cast<double>(lane_dot(to, to, width)));
      for (int k = 0; k < i; ++k) {
        const float* from = row(block_, k);
        const float part = lane_dot(to, from, width);
        for (std::size_t c = 0; c < width; ++c) to[c] -= part * from[c];
      }
      const double after = std::sqrt(static_cast<double>(lane_dot(to, to, width)));
      if (!(after > 1e-30)) {
        start(i, static_cast<std::uint64_t>(100 + 10 * i + attempt));
        continue;
      }
      const auto inverse = static_cast<float>(1.0 / after);
      for (std::size_t c = 0; c < width; ++c) to[c] *= inverse;
      if (after > 0.5 * before) break;
    }
  }
}

void TopSubspace::update(const Matrix& s) {
  SymmetricEigen eigen = symmetric_eigen(s, true);
  values_.assign(eigen.values.rbegin(), eigen.values.rend());
  vectors_ = Matrix(size_, size_);
  for (int k = 0; k < size_; ++k) {
    for (int i = 0; i < size_; ++i) vectors_(k, i) = eigen.vectors(i, size_ - 1 - k);
  }
}

void TopSubspace::update(const std::function<void(const float* x, float* y)>& apply) {
  one_blas_thread();
  for (int iteration = 0; iteration < (fresh_ ? kFirstIterations : 1); ++iteration) {
    apply(block_.data(), image_.data());
    std::swap(block_, image_);
    orthonormalise();
  }
  fresh_ = false;
  apply(block_.data(), image_.data());
  Matrix small = products(image_, block_);
  values_.resize(kBlock);
  std::array<double, 64 * kBlock> work;
  LAPACKE_dsyev_work(LAPACK_COL_MAJOR, 'V', 'U', kBlock, small.data(), kBlock, values_.data(),
                     work.data(), static_cast<int>(work.size()));
  // Columns of the column-major result, ascending: rows of `small`, so the vectors are small times the block.
  for (int i = 0; i < kBlock; ++i) {
    float* to = row(image_, i);
    std::fill_n(to, padded_lanes(size_), 0.0F);
    for (int k = 0; k < kBlock; ++k) {
      const auto part = static_cast<float>(small(kBlock - 1 - i, k));
      const float* from = row(block_, k);
      for (int c = 0; c < padded_lanes(size_); ++c) to[c] += part * from[c];
    }
    std::copy_n(to, size_, vectors_.row(i).begin());
  }
  std::swap(block_, image_);
  std::reverse(values_.begin(), values_.end());
}

}  // namespace ullage::spectrum
