#include "bounds/pencil.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>
#include <utility>

namespace ullage::bounds {

namespace {

// R with R^T R = gram, which may be singular: shifted by as little as lets it run. A shift is one more
// independent coordinate a row of A, which B does not read: psi can only grow. In FP32 none is large enough not to be seen
// and small enough not to matter: false there where pivots span more than kPivots.
template <class T>
bool shifted_factor(const spectrum::Matrix& gram, SquareOf<T>& r) {
  constexpr bool kSingle = std::is_same_v<T, float>;
  constexpr T kPivots = T(256);
  const double trace = std::max(spectrum::trace(gram), 0.0);
  const SquareOf<T> original(gram);
  for (double shift = kSingle ? 0.0 : std::max(1e-14 * trace, 1e-280);; shift *= 30.0) {
    r = original;
    for (int i = 0; i < gram.rows(); ++i) r(i, i) += static_cast<T>(shift);
    if (factor(r)) break;
    if (kSingle) return false;
  }
  T least = r(0, 0), most = r(0, 0);
  for (int i = 0; i < gram.rows(); ++i) {
    least = std::min(least, r(i, i));
    most = std::max(most, r(i, i));
  }
  for (int i = 0; i < r.extent(); ++i) std::fill_n(r.row(i), i, T(0));
  return !kSingle || most <= kPivots * least;
}

// a^T x.
template <class T>
std::vector<double> transposed_multiply(const SquareOf<T>& a, std::span<const double> x) {
  std::vector<double> out(x.size());
  for (std::size_t k = 0; k < x.size(); ++k) {
    const T* row = a.row(static_cast<int>(k));
    for (std::size_t j = 0; j < x.size(); ++j) out[j] += x[k] * static_cast<double>(row[j]);
  }
  return out;
}

// x^T y in eight sums.
template <class T>
double product(const T* x, const T* y, int n) {
  T sums[8] = {};
  int i = 0;
  for (; i + 8 <= n; i += 8) {
    for (int k = 0; k < 8; ++k) sums[k] += x[i + k] * y[i + k];
  }
  for (; i < n; ++i) sums[0] += x[i] * y[i];
  return static_cast<double>(((sums[0] + sums[1]) + (sums[2] + sums[3])) +
                             ((sums[4] + sums[5]) + (sums[6] + sums[7])));
}

// The largest eigenvalue of a positive semidefinite matrix from below, to a few per cent: power iteration.
template <class T>
double largest_estimate(const SquareOf<T>& s) {
  int largest = 0;
  for (int i = 0; i < s.size(); ++i) {
    if (s(i, i) > s(largest, largest)) largest = i;
  }
  std::vector<double> v(s.row(largest), s.row(largest) + s.size());
  auto estimate = static_cast<double>(s(largest, largest));
  for (int step = 0; step < 6; ++step) {
    const double length = spectrum::norm2(v);
    if (!(length > 0.0)) return estimate;
    for (double& value : v) value /= length;
    std::vector<double> next = transposed_multiply(s, v);
    estimate = std::max(estimate, spectrum::dot(v, next));
    v = std::move(next);
  }
  return estimate;
}

}  // namespace

template <class T>
ReductionOf<T>::ReductionOf(const spectrum::Matrix& query_gram, const spectrum::Matrix& key_gram,
                            std::span<const double> query_bias, std::span<const double> key_bias) {
  resolved = shifted_factor(query_gram, upper);
  if (!resolved) return;
  lower = transposed(upper);
  const SquareOf<T> keys(key_gram);
  x = symmetric_product(lower, Shape::lower,
                        transposed_product(keys, Shape::full, lower, Shape::lower));
  sigma = std::sqrt(largest_estimate(x));
  if (spectrum::norm2(query_bias) > 0.0 || spectrum::norm2(key_bias) > 0.0) {
    a.assign(query_bias.begin(), query_bias.end());
    const std::vector<double> keys_a = transposed_multiply(keys, a);
    p = transposed_multiply(lower, key_bias);
    q = transposed_multiply(lower, keys_a);
    key_at_query_bias = std::max(spectrum::dot(a, keys_a), 0.0);
    bias_product = spectrum::dot(a, key_bias);
  }
}

template <class T>
PencilScore<T>::PencilScore(const ReductionOf<T>& head, const spectrum::Matrix& cross,
                            double radial_mean)
    : sigma_(head.sigma), work_(head.x.size()) {
  const int n = head.x.size();
  // Y = L^-1 C; K^T = Y L.
  SquareOf<T> y(cross);
  solve_transposed(head.upper, y);
  const SquareOf<T> y_transposed = transposed(y);
  const SquareOf<T> k_transposed =
      transposed_product(y_transposed, Shape::full, head.lower, Shape::lower);
  const SquareOf<T> square = symmetric_product(k_transposed, Shape::full, k_transposed);
  linear_ = SquareOf<T>(n, spectrum::kUnwritten);
  quadratic_ = SquareOf<T>(n, spectrum::kUnwritten);
  // tr S = tr C and tr S^2 = (tr C^2 + tr G_A G_B)/2 = (tr K^2 + tr X)/2.
  const SquareOf<T> k = transposed(k_transposed);
  double cross_square = 0.0;
  double x_trace = 0.0;
  double x_square = 0.0;
  for (int i = 0; i < n; ++i) {
    const T* x_row = head.x.row(i);
    x_trace += static_cast<double>(x_row[i]);
    x_square += product(x_row, x_row, n);
    cross_square += product(k.row(i), k_transposed.row(i), n);
    for (int j = 0; j < n; ++j) {
      linear_.row(i)[j] = k_transposed.row(i)[j] + k.row(i)[j];
      quadratic_.row(i)[j] = x_row[j] - square.row(i)[j];
    }
  }
  slope_ = spectrum::trace(cross);
  curvature_ = std::max(cross_square + x_trace, 0.0);
  if (x_square > 0.0 && curvature_ > 0.0) {
    // tr S / sqrt(rank tr S^2), which is +-1 where all eigenvalues are equal.
    const double rank = x_trace * x_trace / x_square;
    skew_ = std::clamp(slope_ / std::sqrt(0.5 * curvature_ * rank), -1.0, 1.0);
  }
  if (!head.a.empty()) {
    const double m = radial_mean;
    const std::vector<double> ya = transposed_multiply(y_transposed, head.a);
    const std::vector<double> k_ya = transposed_multiply(k_transposed, ya);
    v1_ = head.p;
    v2_ = head.q;
    for (std::size_t i = 0; i < v1_.size(); ++i) {
      v1_[i] = (v1_[i] + ya[i]) / m;
      v2_[i] = (v2_[i] - k_ya[i]) / m;
    }
    rest_ = std::max(head.key_at_query_bias - spectrum::dot(ya, ya), 0.0) / (m * m);
    shift_ = head.bias_product;
    slope_ += shift_;
    curvature_ += spectrum::dot(v1_, v1_) + rest_;
  }
}

// mu is between sigma/2 (left and right singular vectors orthogonal) and sigma (the same).
template <class T>
double PencilScore<T>::likely_limit(double sign) const {
  if (!(sigma_ > 0.0)) return std::numeric_limits<double>::infinity();
  return 1.0 / (sigma_ * (1.0 + std::max(sign * skew_, 0.0)));
}

template <class T>
bool PencilScore<T>::value(double lambda, double& psi) {
  const int n = quadratic_.size();
  const double square = lambda * lambda;
  const T first = static_cast<T>(-lambda), second = static_cast<T>(-square);
  for (int i = 0; i < n; ++i) {
    T* row = work_.row(i);
    const T* l = linear_.row(i);
    const T* q = quadratic_.row(i);
    for (int j = i; j < n; ++j) row[j] = first * l[j] + second * q[j];
    row[i] += T(1);
  }
  if (!factor(work_)) return false;
  double log_determinant = 0.0;  // of the factor: half that of W
  double pivots = 1.0;
  for (int i = 0; i < n; ++i) {
    pivots *= static_cast<double>(work_(i, i));
    if (pivots < 1e-100 || pivots > 1e100 || i + 1 == n) {
      log_determinant += std::log(pivots);
      pivots = 1.0;
    }
  }
  psi = -log_determinant + lambda * shift_;
  if (!v1_.empty()) {
    std::vector<double> z(v1_);
    for (std::size_t i = 0; i < z.size(); ++i) z[i] += lambda * v2_[i];
    solve_transposed(work_, std::span<double>(z));
    psi += 0.5 * square * (spectrum::dot(z, z) + rest_);
  }
  return std::isfinite(psi);
}

// A slope only says where to look next, so a difference will do: another Cholesky factor, where the derivative wants most
// of an inverse. Towards zero, where the first value being finite says that this one is. In FP32, whose values are off by
// about 1e-5 of some tens, over a step that leaves the slope right to about a thousandth.
template <class T>
bool PencilScore<T>::evaluate(double lambda, double& psi, double& slope) {
  constexpr double kStep = std::is_same_v<T, float> ? 0x1p-10 : 1e-6;
  double nearer = 0.0;
  if (!value(lambda, psi) || !value(lambda * (1.0 - kStep), nearer)) return false;
  slope = (psi - nearer) / (lambda * kStep);
  return std::isfinite(slope);
}

template struct ReductionOf<double>;
template struct ReductionOf<float>;
template class PencilScore<double>;
template class PencilScore<float>;

}  // namespace ullage::bounds
