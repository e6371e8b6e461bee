// The search over D, t and t', and the certificate of what it found.
#include <cblas.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>
#include <utility>

#include "spectrum/rope.h"
#include "spectrum/scaled_side.h"
#include "spectrum/subspace.h"
#include "ullage/spectrum/certificate.h"
#include "ullage/spectrum/spectrum.h"

namespace ullage::spectrum {

namespace {

constexpr double kUnit = 0x1p-53;
constexpr double kFloor = 1e-6;  // of norms of pairs, relative to the largest

std::size_t at(int i) { return static_cast<std::size_t>(i); }

// Groups of coordinates that share one D: pairs first, then the fixed ones alone.
std::vector<int> groups_of(const Rotation& rotation) {
  std::vector<int> group(at(rotation.head_dim));
  int next = 0;
  for (const auto& [i, j] : rotation.pairs) group[at(i)] = group[at(j)] = next++;
  for (const int i : rotation.fixed) group[at(i)] = next++;
  return group;
}

int group_count(const Rotation& rotation) {
  return static_cast<int>(rotation.pairs.size() + rotation.fixed.size());
}

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

// A side with what its products need: made once, used for every D that is tried.
struct Searched {
  const Side& side;
  ScaledSide scaled;
  explicit Searched(const Side& made) : side(made), scaled(made) {}
};

// |D [A, a/t]|, an estimate.
double scaled_norm(Searched& searched, double t, std::span<const double> d) {
  if (searched.side.gram->rows() <= kSingleFrom)
    return norm_of(scaled_symmetric(augmented_gram(searched.side, t), d));
  searched.scaled.set(d, t);
  return searched.scaled.norm();
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
  const bool plain = std::all_of(scaling.d.begin(), scaling.d.end(), [](double d) { return d == 1; });
  const auto norm = [&](Searched& searched, double t, std::span<const double> d) {
    return plain && t == 0.0 && searched.side.norm > 0.0 ? searched.side.norm
                                                         : scaled_norm(searched, t, d);
  };
  scaling.norm_q = norm(q, scaling.t_q, scaling.d);
  scaling.norm_k = norm(k, scaling.t_k, inverses(scaling.d));
  scaling.value = column_factor(q.side, scaling.t_q) * scaling.norm_q *
                  (column_factor(k.side, scaling.t_k) * scaling.norm_k);
}

std::vector<double> group_norms(const Matrix& g, const std::vector<int>& group, int groups) {
  std::vector<double> out(at(groups));
  for (int i = 0; i < g.rows(); ++i) out[at(group[at(i)])] += std::max(g(i, i), 0.0);
  for (double& value : out) value = std::sqrt(value);
  const double largest = *std::max_element(out.begin(), out.end());
  for (double& value : out) value = std::max(value, std::max(kFloor * largest, 1e-300));
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

// The softened product and its gradient in (log D by group, log t, log t').
//
// Of each side log sqrt(r^2 + t^2) + log lambda_1 / 2 + log(sum_k (lambda_k / lambda_1)^p) / (2 p), the lambdas of
// D (G + a a^T / t^2) D: smooth where the largest eigenvalue is multiple, as it is at the optimum.
class Softened {
 public:
  Softened(const Rotation& rotation, Searched& q, Searched& k)
      : q_(q),
        k_(k),
        group_(groups_of(rotation)),
        groups_(group_count(rotation)),
        top_q_(rotation.head_dim),
        top_k_(rotation.head_dim) {}

  [[nodiscard]] std::vector<double> point_of(const Scaling& scaling) const {
    std::vector<double> x(at(groups_));
    for (std::size_t i = 0; i < group_.size(); ++i) x[at(group_[i])] = std::log(scaling.d[i]);
    if (scaling.t_q > 0.0) x.push_back(std::log(scaling.t_q));
    if (scaling.t_k > 0.0) x.push_back(std::log(scaling.t_k));
    return x;
  }

  [[nodiscard]] Scaling scaling_of(const std::vector<double>& x) const {
    Scaling scaling;
    for (const int g : group_) scaling.d.push_back(std::exp(x[at(g)]));
    std::size_t next = at(groups_);
    if (has_bias(q_.side)) scaling.t_q = std::exp(x[next++]);
    if (has_bias(k_.side)) scaling.t_k = std::exp(x[next]);
    return scaling;
  }

  struct Value {
    double soft = 0.0;
    double hard = 0.0;  // log of the product, from the same eigenvalues
    std::vector<double> gradient;
  };

  Value operator()(const std::vector<double>& x, double p) {
    const Scaling scaling = scaling_of(x);
    Value out;
    out.gradient.assign(x.size(), 0.0);
    std::size_t next = at(groups_);
    add_side(q_, scaling.t_q, scaling.d, 1.0, p, top_q_, next, out);
    if (scaling.t_q > 0.0) ++next;
    add_side(k_, scaling.t_k, inverses(scaling.d), -1.0, p, top_k_, next, out);
    return out;
  }

 private:
  void add_side(Searched& searched, double t, const std::vector<double>& d, double sign, double p,
                TopSubspace& top, std::size_t t_index, Value& out) const {
    const Side& side = searched.side;
    double scale = 1.0;
    if (top.exact()) {
      top.update(scaled_symmetric(augmented_gram(side, t), d));
    } else {
      searched.scaled.set(d, t);
      scale = searched.scaled.scale();
      top.update([&](const float* x, float* y) { searched.scaled.multiply_block(x, y); });
    }
    std::vector<double> values = top.values();
    for (double& value : values) value *= scale;
    const double largest = std::max(values.front(), 1e-300);
    std::vector<double> weights;
    for (const double value : values)
      weights.push_back(std::pow(std::max(value, 0.0) / largest, p));
    const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
    const double hard = 0.5 * std::log(largest) + std::log(column_factor(side, t));
    out.hard += hard;
    out.soft += hard + 0.5 * std::log(sum) / p;
    double column = 0.0;
    for (std::size_t k = 0; k < values.size(); ++k) {
      const double weight = weights[k] / sum;
      if (weight < 1e-12) continue;
      const std::span<const double> vector = top.vectors().row(static_cast<int>(k));
      double along = 0.0;
      for (std::size_t i = 0; i < group_.size(); ++i) {
        out.gradient[at(group_[i])] += sign * weight * vector[i] * vector[i];
        if (t > 0.0) along += vector[i] * side.bias[i] * d[i];
      }
      if (t > 0.0) column += weight * along * along / (t * t * std::max(values[k], 1e-300));
    }
    if (t > 0.0) {
      const double factor = column_factor(side, t);
      out.gradient[t_index] += t / factor * (t / factor) - column;
    }
  }

  Searched& q_;
  Searched& k_;
  std::vector<int> group_;
  int groups_;
  TopSubspace top_q_;
  TopSubspace top_k_;
};

// BFGS with steps of at most one in any coordinate; p grows as the steps shrink, so that early steps see the slopes of
// several eigenvalues and late ones the largest. The best point by the sharp value is kept.
std::vector<double> search(Softened& objective, std::vector<double> x, int evaluations,
                           double least_gain) {
  constexpr int kPatience = 3;
  const std::size_t n = x.size();
  constexpr double kFirstPower = 16.0;
  constexpr double kGrowth = 1.3;
  double p = kFirstPower;
  Softened::Value here = objective(x, p);
  std::vector<double> best = x;
  double best_value = here.hard;
  double settled_value = best_value;  // the last that gained as much as was asked
  int idle = 0;
  Matrix inverse(static_cast<int>(n), static_cast<int>(n));
  const auto reset = [&](double scale) {
    for (int i = 0; i < inverse.rows(); ++i) {
      for (double& value : inverse.row(i)) value = 0.0;
      inverse(i, i) = scale;
    }
  };
  reset(1.0);
  bool first = true;
  double shrink = 1.0;
  for (int evaluation = 1; evaluation < evaluations; ++evaluation) {
    std::vector<double> step = multiply(inverse, here.gradient);
    double slope = -dot(step, here.gradient);
    if (!(slope < -1e-16)) {
      reset(1.0);
      first = true;
      step = here.gradient;
      slope = -dot(step, step);
      if (!(slope < -1e-24)) break;
    }
    double longest = 0.0;
    for (const double value : step) longest = std::max(longest, std::abs(value));
    const double length = std::min(shrink, 1.0 / longest);
    std::vector<double> there = x;
    for (std::size_t i = 0; i < n; ++i) there[i] -= length * step[i];
    Softened::Value next = objective(there, p);
    if (next.hard < best_value) {
      best_value = next.hard;
      best = there;
    }
    idle = best_value < settled_value - least_gain ? 0 : idle + 1;
    if (idle == 0) settled_value = best_value;
    if (least_gain > 0.0 && idle == kPatience) break;
    if (!(next.soft <= here.soft + 1e-4 * length * slope + 1e-13)) {
      shrink *= 0.3;
      if (shrink < 1e-3) {
        reset(0.3);
        first = true;
        shrink = 1.0;
        p *= kGrowth;
        here = objective(x, p);
        ++evaluation;
      }
      continue;
    }
    shrink = 1.0;
    std::vector<double> moved(n);
    std::vector<double> change(n);
    for (std::size_t i = 0; i < n; ++i) {
      moved[i] = there[i] - x[i];
      change[i] = next.gradient[i] - here.gradient[i];
    }
    const double curvature = dot(moved, change);
    if (curvature > 1e-10 * norm2(moved) * norm2(change)) {
      if (first) reset(curvature / dot(change, change));
      first = false;
      // H := (I - s y^T / c) H (I - y s^T / c) + s s^T / c.
      const std::vector<double> h = multiply(inverse, change);
      const double extra = (1.0 + dot(change, h) / curvature) / curvature;
      for (std::size_t i = 0; i < n; ++i) {
        for (std::size_t j = 0; j < n; ++j) {
          inverse(static_cast<int>(i), static_cast<int>(j)) +=
              extra * moved[i] * moved[j] - (h[i] * moved[j] + moved[i] * h[j]) / curvature;
        }
      }
    }
    x = std::move(there);
    p *= kGrowth;
    here = std::move(next);
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

// The augmented Gram in the basis of `mix`, with what rounding may have taken from it given back.
Matrix mixed_above(const Rotation& rotation, const Side& side, double t, const Matrix& mix) {
  const Matrix whole = augmented_gram(side, t);
  if (mix.rows() == 0) return whole;
  Matrix out = mixed(rotation, {&whole, {}, 1.0}, mix).gram;
  const double slack =
      4.0 * (whole.rows() + 2) * kUnit * trace(whole) * std::max(1.0, sum_of_squares(mix));
  for (int i = 0; i < out.rows(); ++i) out(i, i) += slack;
  return out;
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
  Softened objective(rotation, *searched_q, *searched_k);
  Scaling found = objective.scaling_of(search(objective, objective.point_of(best), evaluations,
                                              rotation.head_dim <= kSmall ? 0.0
                                                                          : options.least_gain));
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
  const Matrix g_q = mixed_above(rotation, q, scaling.t_q, scaling.x);
  const Matrix g_k = mixed_above(rotation, k, scaling.t_k, scaling.y);
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
