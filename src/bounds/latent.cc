#include "ullage/bounds/latent.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "bounds/upper.h"
#include "ullage/bounds/certificates.h"
#include "ullage/spectrum/certificate.h"

namespace ullage::bounds {

namespace {

using spectrum::Matrix;

// Rows and columns [first, first + size) of a square matrix.
Matrix block(const Matrix& m, int first, int size) {
  Matrix out(size, size);
  for (int i = 0; i < size; ++i) {
    for (int j = 0; j < size; ++j) out(i, j) = m(first + i, first + j);
  }
  return out;
}

Side part(const Side& side, int first, int size) {
  Side out;
  out.gram = block(side.gram, first, size);
  out.inflation = side.inflation;
  if (!side.bias.empty()) {
    out.bias.assign(side.bias.begin() + first, side.bias.begin() + first + size);
  }
  out.squared_norm = side.squared_norm;
  return out;
}

// diag(nope, rope) of the two quadratic forms, weighted.
Matrix weighted(const Matrix& nope, double nope_weight, std::span<const double> rope,
                double rope_weight) {
  const int n = nope.rows();
  Matrix out(n + static_cast<int>(rope.size()), n + static_cast<int>(rope.size()));
  for (int i = 0; i < n; ++i) {
    for (int j = 0; j < n; ++j) out(i, j) = nope_weight * nope(i, j);
  }
  for (std::size_t p = 0; p < rope.size(); ++p) {
    const int i = n + static_cast<int>(p);
    out(i, i) = rope_weight * rope[p];
  }
  return out;
}

// Top eigenvector of a positive semidefinite form out of the Krylov space of z (Lanczos with full
// reorthogonalisation): z becomes it. Inexact where the gap is small, which costs tightness only.
void sharpen(const Matrix& form, std::vector<double>& z) {
  constexpr std::size_t kSteps = 14;
  std::vector<std::vector<double>> basis = {z};
  std::vector<double> diagonal;
  std::vector<double> off_diagonal;
  for (std::size_t step = 0; step < std::min(kSteps, z.size()); ++step) {
    std::vector<double> next = spectrum::multiply(form, basis.back());
    diagonal.push_back(spectrum::dot(basis.back(), next));
    for (int pass = 0; pass < 2; ++pass) {
      for (const std::vector<double>& v : basis) {
        const double along = spectrum::dot(v, next);
        for (std::size_t i = 0; i < next.size(); ++i) next[i] -= along * v[i];
      }
    }
    const double length = spectrum::norm2(next);
    if (!(length > 1e-12 * diagonal.front())) break;
    off_diagonal.push_back(length);
    for (double& value : next) value /= length;
    basis.push_back(std::move(next));
  }
  const int n = static_cast<int>(diagonal.size());
  Matrix projected(n, n);
  for (int i = 0; i < n; ++i) {
    projected(i, i) = diagonal[static_cast<std::size_t>(i)];
    if (i + 1 < n) {
      projected(i + 1, i) = projected(i, i + 1) = off_diagonal[static_cast<std::size_t>(i)];
    }
  }
  const spectrum::SymmetricEigen eigen = spectrum::symmetric_eigen(projected, true);
  std::fill(z.begin(), z.end(), 0.0);
  for (int k = 0; k < n; ++k) {
    const double weight = eigen.vectors(k, n - 1);
    const std::vector<double>& v = basis[static_cast<std::size_t>(k)];
    for (std::size_t i = 0; i < z.size(); ++i) z[i] += weight * v[i];
  }
  const double length = spectrum::norm2(z);
  for (double& value : z) value /= length;
}

// The w that minimises lambda_max(X_1/w + X_2/(1 - w)), a convex function: bisection on the sign of
// z^T X_2 z/(1 - w)^2 - z^T X_1 z/w^2 at the top eigenvector z, helped by the w that is best for z.
double best_weight(const Matrix& first, const Matrix& second, double start) {
  const auto n = static_cast<std::size_t>(first.rows());
  std::vector<double> z(n);
  for (std::size_t i = 0; i < n; ++i) z[i] = 1.0 + 0.3 * std::sin(static_cast<double>(i) + 1.0);
  const double length = spectrum::norm2(z);
  for (double& value : z) value /= length;
  Matrix form(first.rows(), first.columns());
  double low = 0.0;
  double high = 1.0;
  double w = start;
  for (int step = 0; step < 24; ++step) {
    for (int i = 0; i < form.rows(); ++i) {
      for (int j = 0; j < form.columns(); ++j) {
        form(i, j) = first(i, j) / w + second(i, j) / (1.0 - w);
      }
    }
    sharpen(form, z);
    const double p = std::max(spectrum::dot(z, spectrum::multiply(first, z)), 0.0);
    const double q = std::max(spectrum::dot(z, spectrum::multiply(second, z)), 0.0);
    (p / (w * w) > q / ((1.0 - w) * (1.0 - w)) ? low : high) = w;
    double next = std::sqrt(p) / (std::sqrt(p) + std::sqrt(q));
    if (!(next > low && next < high) || step % 2 == 1) next = 0.5 * (low + high);
    if (std::abs(next - w) < 1e-6 * std::min(next, 1.0 - next)) break;
    w = next;
  }
  return w;
}

Status check(const LatentHead& head) {
  ULLAGE_TRY(check_side(head.query, "query"));
  ULLAGE_TRY(check_side(head.key_nope, "key_nope"));
  ULLAGE_TRY(check_side(head.key_rope, "key_rope"));
  const int rows = head.key_nope.gram.rows() + head.key_rope.gram.rows();
  if (head.query.gram.rows() != rows) {
    return Error{Code::value_invalid, "query rows are not the key's nope and rope rows", "query",
                 std::to_string(rows), std::to_string(head.query.gram.rows())};
  }
  if (spectrum::norm2(head.query.bias) > 0.0 || spectrum::norm2(head.key_nope.bias) > 0.0) {
    return Error{Code::value_invalid,
                 "latent attention has no bias behind its inner norms",
                 "query or key_nope",
                 {},
                 {}};
  }
  return {};
}

// D of the rotated coordinates: the one that was found before, else a good one.
std::vector<double> rope_scaling(const LatentHead& head, const Side& query_rope,
                                 const LatentOptions& options) {
  if (head.rotation_unknown)
    return std::vector<double>(static_cast<std::size_t>(head.key_rope.gram.rows()), 1.0);
  if (options.scaling != nullptr) return options.scaling->d;
  const Matrix q_gram = inflated(query_rope);
  const Matrix k_gram = inflated(head.key_rope);
  const spectrum::Side q{&q_gram, {}, std::sqrt(head.query.squared_norm)};
  const spectrum::Side k{&k_gram, head.key_rope.bias, std::sqrt(head.key_rope.squared_norm)};
  return spectrum::optimal_scaling(head.rotation, q, k, {.mix_fixed = false}).d;
}

// Both parts in one product, from above: in units of x + y, the bounds of the nope part and of the rotated one.
double joint_bound(const LatentHead& head, const Matrix& key_nope, std::span<const double> d,
                   double kappa, double x, double y) {
  const Matrix query = inflated(head.query);
  std::vector<double> d_squared(d.begin(), d.end());
  for (double& value : d_squared) value *= value;
  const Matrix lower = spectrum::semidefinite_factor(query);
  const auto form = [&](double nope_weight, double rope_weight) {
    const Matrix middle = weighted(key_nope, nope_weight, d_squared, rope_weight);
    return spectrum::transposed_multiply(lower, spectrum::multiply(middle, lower));
  };
  // So that the two weights are of order one.
  const double unit = x + y;
  const double nope_weight = head.key_nope.squared_norm / (unit * unit);
  const double rope_weight = (kappa / unit) * (kappa / unit);
  const double w = best_weight(form(nope_weight, 0.0), form(0.0, rope_weight),
                               std::clamp(x / unit, 1e-6, 1.0 - 1e-6));
  return spectrum::certified_sigma(
      query, weighted(key_nope, nope_weight / w, d_squared, rope_weight / (1.0 - w)));
}

}  // namespace

Result<LatentCertificates> certify_latent(const LatentHead& head, const LatentOptions& options) {
  ULLAGE_TRY(check(head));
  const int nope = head.key_nope.gram.rows();
  const Side query_nope = part(head.query, 0, nope);
  const Side query_rope = part(head.query, nope, head.key_rope.gram.rows());
  const std::vector<double> d = rope_scaling(head, query_rope, options);

  std::vector<double> turned_bias = head.key_rope.bias;
  for (std::size_t c = 0; c < turned_bias.size(); ++c) turned_bias[c] /= d[c];
  const double least_d = *std::min_element(d.begin(), d.end());
  const double kappa =
      std::sqrt(head.key_rope.squared_norm) * upper_scaled_norm(head.key_rope, d, true) +
      upper_norm(turned_bias) + head.key_rope.bias_error / least_d;
  const Matrix key_nope = inflated(head.key_nope);
  const double nope_sigma = spectrum::certified_sigma(inflated(query_nope), key_nope);
  const double x = std::sqrt(head.key_nope.squared_norm) * nope_sigma;
  const double y = kappa * upper_scaled_norm(query_rope, d, false);
  const double prefix = head.scale * std::sqrt(head.query.squared_norm);

  LatentCertificates out;
  out.sum = spectrum::round_up(prefix * (x + y));
  out.joint = out.sum;
  if (x > 0.0 && y > 0.0) {
    const double joint = joint_bound(head, key_nope, d, kappa, x, y);
    out.joint = spectrum::round_up(prefix * (x + y) * joint);
  }
  const bool joint_wins = out.joint < out.sum;
  out.before_cap = joint_wins ? out.joint : out.sum;
  out.by = joint_wins ? "latent_joint" : "latent_sum";
  out.certificate = soft_capped(out.before_cap, options.soft_cap);
  return out;
}

}  // namespace ullage::bounds
