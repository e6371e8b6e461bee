#include "ullage/spectrum/tridiagonal.h"

#include <algorithm>
#include <cmath>

namespace ullage::spectrum {

Tridiagonal tridiagonalise(Square a, std::vector<std::vector<double>*> vectors) {
  const ReflectKernel reflect = panel_kernels().reflect;
  const int n = a.size();
  const int padded = a.extent();
  const auto length = static_cast<std::size_t>(padded);
  Tridiagonal out;
  out.diagonal.resize(static_cast<std::size_t>(n));
  out.off_diagonal.resize(static_cast<std::size_t>(std::max(n - 1, 0)));
  // Of the step before, still to be applied: a - v w^T - w v^T. Zero up to the step's own index.
  std::vector<double> v(length), w(length), next(length), p(length);
  for (int k = 0; k < n; ++k) {
    double* row = a.row(k);
    for (int j = k; j < n; ++j) {
      row[j] -= v[static_cast<std::size_t>(k)] * w[static_cast<std::size_t>(j)] +
                w[static_cast<std::size_t>(k)] * v[static_cast<std::size_t>(j)];
    }
    out.diagonal[static_cast<std::size_t>(k)] = row[k];
    if (k + 1 == n) break;

    // H = I - tau next next^T takes (row k beyond the diagonal) to (beta, 0, ..., 0).
    double tail = 0.0;
    for (int j = k + 2; j < n; ++j) tail += row[j] * row[j];
    const double head = row[k + 1];
    std::fill(next.begin(), next.end(), 0.0);
    double tau = 0.0;
    double beta = head;
    if (tail > 1e-290) {
      beta = -std::copysign(std::sqrt(head * head + tail), head);
      tau = 1.0 / (beta * (beta - head));
      std::copy(row + k + 2, row + n, next.begin() + k + 2);
      next[static_cast<std::size_t>(k + 1)] = head - beta;
    }
    out.off_diagonal[static_cast<std::size_t>(k)] = beta;
    for (std::vector<double>* x : vectors) {
      double along = 0.0;
      for (std::size_t j = 0; j < x->size(); ++j) along += next[j] * (*x)[j];
      for (std::size_t j = 0; j < x->size(); ++j) (*x)[j] -= tau * along * next[j];
    }

    std::fill(p.begin(), p.end(), 0.0);
    reflect(a.row(0), a.stride(), (k + 1) / 8 * 8, padded, v.data(), w.data(), next.data(),
            p.data());
    double inner = 0.0;
    for (std::size_t j = 0; j < length; ++j) inner += p[j] * next[j];
    for (std::size_t j = 0; j < length; ++j) {
      w[j] = static_cast<int>(j) > k ? tau * (p[j] - 0.5 * tau * inner * next[j]) : 0.0;
    }
    v.swap(next);
  }
  return out;
}

namespace {

// Bisection in T for all eigenvalues side by side, down to `tolerance` of the widest Gershgorin disc; off-diagonal squares of
// that unit are at least `least`.
template <class T>
std::vector<double> bisected(const Tridiagonal& t, double tolerance, double least,
                             SturmKernel<T> sturm) {
  const auto n = t.diagonal.size();
  std::vector<double> out(n);
  if (n == 0) return out;
  double reach = 0.0;
  for (std::size_t k = 0; k < n; ++k) {
    double radius = std::abs(t.diagonal[k]);
    if (k > 0) radius += std::abs(t.off_diagonal[k - 1]);
    if (k + 1 < n) radius += std::abs(t.off_diagonal[k]);
    reach = std::max(reach, radius);
  }
  if (!(reach > 0.0)) return out;
  std::vector<T> diagonal(n), off_squares(n);
  for (std::size_t k = 0; k < n; ++k) diagonal[k] = static_cast<T>(t.diagonal[k] / reach);
  for (std::size_t k = 0; k + 1 < n; ++k) {
    const double off = t.off_diagonal[k] / reach;
    off_squares[k] = static_cast<T>(std::max(off * off, least));
  }

  const std::size_t lanes = (n + kSturmLanes - 1) / kSturmLanes * kSturmLanes;
  std::vector<T> x(lanes), below(lanes), low(n), high(n);
  const auto count = [&] {
    for (std::size_t first = 0; first < lanes; first += kSturmLanes) {
      sturm(diagonal.data(), off_squares.data(), static_cast<int>(n), x.data() + first,
            below.data() + first);
    }
  };
  // A first look at as many even points as there are lanes cuts the range for all eigenvalues.
  const double step = 2.0 / (static_cast<double>(lanes) + 1.0);
  for (std::size_t i = 0; i < lanes; ++i)
    x[i] = static_cast<T>(-1.0 + step * (static_cast<double>(i) + 1.0));
  count();
  for (std::size_t k = 0, i = 0; k < n; ++k) {
    while (i < lanes && below[i] <= static_cast<T>(k)) ++i;
    low[k] = i == 0 ? static_cast<T>(-1.0 - 1e-6) : x[i - 1];
    high[k] = i == lanes ? static_cast<T>(1.0 + 1e-6) : x[i];
  }
  for (double width = step; width > tolerance; width *= 0.5) {
    for (std::size_t k = 0; k < n; ++k) x[k] = T(0.5) * (low[k] + high[k]);
    count();
    for (std::size_t k = 0; k < n; ++k) {
      const bool above = below[k] <= static_cast<T>(k);
      low[k] = above ? x[k] : low[k];
      high[k] = above ? high[k] : x[k];
    }
  }
  for (std::size_t k = 0; k < n; ++k)
    out[k] = 0.5 * (static_cast<double>(low[k]) + static_cast<double>(high[k])) * reach;
  return out;
}

}  // namespace

std::vector<double> eigenvalues(const Tridiagonal& t, double tolerance) {
  // 1e-32 moves no eigenvalue by more than 1e-16.
  return bisected<double>(t, std::max(tolerance, 0x1p-50), 1e-32, panel_kernels().sturm);
}

std::vector<double> eigenvalues_single(const Tridiagonal& t) {
  // FP32 knows no eigenvalue to more than this; 1e-16 moves none by more than 1e-8.
  constexpr double kTolerance = 0x1p-22;
  return bisected<float>(t, kTolerance, 1e-16, panel_kernels().single_sturm);
}

}  // namespace ullage::spectrum
