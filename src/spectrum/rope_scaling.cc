// The search over D, t and t', and the certificate of what it found.
#include <cblas.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "spectrum/rope.h"
#include "spectrum/rope_search.h"
#include "ullage/spectrum/certificate.h"
#include "ullage/spectrum/spectrum.h"

namespace ullage::spectrum {

namespace {

constexpr double kUnit = 0x1p-53;
constexpr double kFloor = 1e-6;  // of norms of pairs, relative to the largest

std::size_t at(int i) { return static_cast<std::size_t>(i); }

// A side in the basis that x and y choose for the fixed coordinates.
struct Mixed {
  Matrix gram;
  std::vector<double> bias;  // empty: none
  double radius = 1.0;
  [[nodiscard]] Side side() const { return {&gram, bias, radius}; }
};

// Rows of the fixed coordinates replaced by `mix` times them.
Mixed mixed(const Rotation& rotation, const Side& side, const Matrix& mix) {
  Mixed out{*side.gram, {}, side.radius};
  if (has_bias(side)) out.bias.assign(side.bias.begin(), side.bias.end());
  if (mix.rows() == 0) return out;
  const int n = rotation.head_dim;
  Matrix whole(n, n);
  for (const auto& [i, j] : rotation.pairs) whole(i, i) = whole(j, j) = 1.0;
  for (int r = 0; r < mix.rows(); ++r) {
    for (int c = 0; c < mix.columns(); ++c) {
      whole(rotation.fixed[at(r)], rotation.fixed[at(c)]) = mix(r, c);
    }
  }
  out.gram = multiply_transposed(multiply(whole, *side.gram), whole);
  for (int i = 0; i < n; ++i) {
    for (int j = 0; j < i; ++j) out.gram(i, j) = out.gram(j, i);
  }
  if (!out.bias.empty()) out.bias = multiply(whole, side.bias);
  return out;
}

// t^2 = r |Da| / |DA|, floored so that neither column nor rows vanish beside the other.
double column_for(Searched& searched, std::span<const double> d) {
  const Side& side = searched.side;
  if (!has_bias(side)) return 0.0;
  double square = 0.0;
  for (std::size_t i = 0; i < d.size(); ++i) square += side.bias[i] * d[i] * (side.bias[i] * d[i]);
  const double bias = std::sqrt(square);
  const double norm = std::max(scaled_norm(searched, 0.0, d), kFloor * bias / side.radius);
  return std::sqrt(side.radius * std::max(bias, kFloor * side.radius * norm) / norm);
}

// Fills the norms and the product at a point.
void evaluate(Searched& q, Searched& k, Scaling& scaling) {
  const bool plain =
      std::all_of(scaling.d.begin(), scaling.d.end(), [](double d) { return d == 1; });
  const auto norm = [&](Searched& searched, double t, std::span<const double> d) {
    return plain && t == 0.0 && searched.side.norm > 0.0 ? searched.side.norm
                                                         : scaled_norm(searched, t, d);
  };
  scaling.norm_q = norm(q, scaling.t_q, scaling.d);
  scaling.norm_k = norm(k, scaling.t_k, inverses(scaling.d));
  scaling.value = column_factor(q.side, scaling.t_q) * scaling.norm_q *
                  (column_factor(k.side, scaling.t_k) * scaling.norm_k);
}

// Of the rows of each group, the largest of them 1: D's own size changes nothing but what over- and underflows. A side of
// zeros, which no D balances, has ones.
std::vector<double> group_norms(const Matrix& g, const std::vector<int>& group, int groups) {
  std::vector<double> out(at(groups));
  for (int i = 0; i < g.rows(); ++i) out[at(group[at(i)])] += std::max(g(i, i), 0.0);
  const double largest = *std::max_element(out.begin(), out.end());
  for (double& value : out)
    value = largest > 0.0 ? std::max(std::sqrt(value / largest), kFloor) : 1.0;
  return out;
}

Scaling balanced(const Rotation& rotation, Searched& q, Searched& k) {
  const std::vector<int> group = groups_of(rotation);
  const int groups = group_count(rotation);
  const std::vector<double> a = group_norms(*q.side.gram, group, groups);
  const std::vector<double> b = group_norms(*k.side.gram, group, groups);
  Scaling best;
  for (const bool ones : {true, false}) {
    Scaling scaling;
    for (const int g : group) scaling.d.push_back(ones ? 1.0 : std::sqrt(b[at(g)] / a[at(g)]));
    scaling.t_q = column_for(q, scaling.d);
    scaling.t_k = column_for(k, inverses(scaling.d));
    evaluate(q, k, scaling);
    if (best.d.empty() || scaling.value < best.value) best = std::move(scaling);
  }
  return best;
}

// X = S^(1/2) P^T L^-1 and Y = X^-T = S^(-1/2) P^T L^T for the fixed rows, L L^T = A_u A_u^T and P S^2 P^T =
// L^T (B_u B_u^T) L: then X A_u = S^(1/2) U^T and Y B_u = S^(1/2) V^T of A_u^T B_u = U S V^T. Ridged by
// 1e-8 of the traces, which keeps X well conditioned and changes only how good it is.
bool fixed_mix(const Rotation& rotation, const Side& q, const Side& k, Matrix& x, Matrix& y) {
  constexpr double kRidge = 1e-8;
  const auto m = static_cast<int>(rotation.fixed.size());
  if (m < 2) return false;
  const auto block = [&](const Side& side) {
    Matrix out(m, m);
    for (int i = 0; i < m; ++i) {
      for (int j = 0; j < m; ++j) {
        out(i, j) = (*side.gram)(rotation.fixed[at(i)], rotation.fixed[at(j)]);
      }
    }
    const double ridge = kRidge * trace(out);
    for (int i = 0; i < m; ++i) out(i, i) += ridge;
    return out;
  };
  const Matrix a = block(q);
  const Matrix b = block(k);
  if (!(trace(a) > 0.0) || !(trace(b) > 0.0)) return false;
  Matrix lower;
  if (!cholesky(a, lower)) return false;
  const SymmetricEigen eigen =
      symmetric_eigen(transposed_multiply(lower, multiply(b, lower)), true);
  const double largest = eigen.values.back();
  if (!(largest > 0.0) || !std::isfinite(largest)) return false;
  const Matrix y_columns = multiply(lower, eigen.vectors);  // L P
  Matrix x_columns = eigen.vectors;                         // L^-T P
  cblas_dtrsm(CblasRowMajor, CblasLeft, CblasLower, CblasTrans, CblasNonUnit, m, m, 1.0,
              lower.data(), m, x_columns.data(), m);
  x = Matrix(m, m);
  y = Matrix(m, m);
  for (int r = 0; r < m; ++r) {
    const double root = std::pow(std::max(eigen.values[at(r)], kRidge * kRidge * largest), 0.25);
    for (int c = 0; c < m; ++c) {
      x(r, c) = x_columns(c, r) * root;
      y(r, c) = y_columns(c, r) / root;
    }
  }
  return true;
}

double sum_of_squares(const Matrix& a) {
  const double norm = frobenius_norm(a);
  return norm * norm;
}

// The augmented Gram in the basis of `mix`, with what rounding may have taken from it given back; in `room` where that is
// not the side's own.
const Matrix& mixed_above(const Rotation& rotation, const Side& side, double t, const Matrix& mix,
                          Matrix& room) {
  const Matrix& whole = augmented_gram(side, t, room);
  if (mix.rows() == 0) return whole;
  const double slack =
      4.0 * (whole.rows() + 2) * kUnit * trace(whole) * std::max(1.0, sum_of_squares(mix));
  room = mixed(rotation, {&whole, {}, 1.0}, mix).gram;
  for (int i = 0; i < room.rows(); ++i) room(i, i) += slack;
  return room;
}

double fixed_trace(const Rotation& rotation, const Matrix& g) {
  double sum = 0.0;
  for (const int i : rotation.fixed) sum += g(i, i);
  return sum;
}

}  // namespace

Scaling balanced_scaling(const Rotation& rotation, const Side& q, const Side& k) {
  Searched searched_q(q), searched_k(k);
  return balanced(rotation, searched_q, searched_k);
}

Scaling optimal_scaling(const Rotation& rotation, const Side& q, const Side& k,
                        const ScalingOptions& options) {
  constexpr int kSmall = 32;
  const int evaluations = options.evaluations > 0       ? options.evaluations
                          : rotation.head_dim <= kSmall ? 40
                                                        : 8;
  std::optional<Searched> searched_q(std::in_place, q), searched_k(std::in_place, k);
  Scaling best = balanced(rotation, *searched_q, *searched_k);
  Mixed mixed_q, mixed_k;
  Side side_q, side_k;  // the mixed ones, where those are better
  Matrix x;
  Matrix y;
  if (options.mix_fixed && fixed_mix(rotation, q, k, x, y)) {
    mixed_q = mixed(rotation, q, x);
    mixed_k = mixed(rotation, k, y);
    side_q = mixed_q.side();
    side_k = mixed_k.side();
    Searched other_q(side_q), other_k(side_k);
    Scaling other = balanced(rotation, other_q, other_k);
    if (other.value < best.value) {
      best = std::move(other);
      best.x = std::move(x);
      best.y = std::move(y);
      searched_q.emplace(side_q);
      searched_k.emplace(side_k);
    }
  }
  if (!(best.value > 0.0) || !std::isfinite(best.value)) return best;
  // Small heads get the optimum, whatever it takes.
  Scaling found = searched_scaling(rotation, *searched_q, *searched_k, best, evaluations,
                                   rotation.head_dim <= kSmall ? 0.0 : options.least_gain);
  evaluate(*searched_q, *searched_k, found);
  if (!(found.value < best.value)) return best;
  found.x = std::move(best.x);
  found.y = std::move(best.y);
  return found;
}

double certified_scaled(const Rotation& rotation, const Side& q, const Side& k,
                        const Scaling& scaling) {
  std::vector<double> d = scaling.d;
  for (const auto& [i, j] : rotation.pairs) d[at(j)] = d[at(i)];
  Matrix room_q, room_k;
  const Matrix& g_q = mixed_above(rotation, q, scaling.t_q, scaling.x, room_q);
  const Matrix& g_k = mixed_above(rotation, k, scaling.t_k, scaling.y, room_k);
  double bound = round_up(certified_norm(scaled_symmetric(g_q, d), scaling.norm_q) *
                          certified_norm(scaled_symmetric(g_k, inverses(d)), scaling.norm_k));
  if (scaling.x.rows() > 0) {
    // What Y is off X^-T: A_u^T (I - X^T Y) B_u, by its Frobenius norm.
    Matrix gap = transposed_multiply(scaling.x, scaling.y);
    for (int i = 0; i < gap.rows(); ++i) gap(i, i) -= 1.0;
    const double off = frobenius_norm(gap) + 4.0 * (gap.rows() + 2) * kUnit *
                                                 frobenius_norm(scaling.x) *
                                                 frobenius_norm(scaling.y);
    bound = round_up(bound + off *
                                 std::sqrt(fixed_trace(rotation, augmented_gram(q, scaling.t_q)) *
                                           fixed_trace(rotation, augmented_gram(k, scaling.t_k))) *
                                 (1.0 + 1e-12));
  }
  return round_up(bound * column_factor(q, scaling.t_q) * column_factor(k, scaling.t_k));
}

}  // namespace ullage::spectrum
