#include "spectrum/rope_search.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "spectrum/rope.h"
#include "spectrum/subspace.h"
#include "ullage/spectrum/spectrum.h"

namespace ullage::spectrum {

namespace {

std::size_t at(int i) { return static_cast<std::size_t>(i); }

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

// What BFGS knows of the inverse of the Hessian.
class InverseHessian {
 public:
  explicit InverseHessian(std::size_t size)
      : values_(static_cast<int>(size), static_cast<int>(size)) {
    reset(1.0);
  }

  // Forgets all: `scale` times the identity, until the next learn() finds a better scale.
  void reset(double scale) {
    for (int i = 0; i < values_.rows(); ++i) {
      for (double& value : values_.row(i)) value = 0.0;
      values_(i, i) = scale;
    }
    fresh_ = true;
  }

  [[nodiscard]] std::vector<double> times(const std::vector<double>& gradient) const {
    return multiply(values_, gradient);
  }

  // Takes in a step and the change of the gradient along it, where they say that the value curves upwards.
  void learn(const std::vector<double>& moved, const std::vector<double>& change) {
    const double curvature = dot(moved, change);
    if (!(curvature > 1e-10 * norm2(moved) * norm2(change))) return;
    if (fresh_) reset(curvature / dot(change, change));
    fresh_ = false;
    // H := (I - s y^T / c) H (I - y s^T / c) + s s^T / c.
    const std::vector<double> h = multiply(values_, change);
    const double extra = (1.0 + dot(change, h) / curvature) / curvature;
    for (std::size_t i = 0; i < moved.size(); ++i) {
      for (std::size_t j = 0; j < moved.size(); ++j) {
        values_(static_cast<int>(i), static_cast<int>(j)) +=
            extra * moved[i] * moved[j] - (h[i] * moved[j] + moved[i] * h[j]) / curvature;
      }
    }
  }

 private:
  Matrix values_;
  bool fresh_ = true;
};

// BFGS with steps of at most one in any coordinate; p grows as the steps shrink, so that early steps see the slopes of
// several eigenvalues and late ones the largest. The best point by the sharp value is kept.
std::vector<double> search(Softened& objective, std::vector<double> x, int evaluations,
                           double least_gain) {
  constexpr int kPatience = 2;
  const std::size_t n = x.size();
  constexpr double kFirstPower = 16.0;
  constexpr double kGrowth = 1.3;
  double p = kFirstPower;
  Softened::Value here = objective(x, p);
  std::vector<double> best = x;
  double best_value = here.hard;
  double settled_value = best_value;  // the last that gained as much as was asked
  int idle = 0;
  InverseHessian inverse(n);
  double shrink = 1.0;
  for (int evaluation = 1; evaluation < evaluations; ++evaluation) {
    std::vector<double> step = inverse.times(here.gradient);
    double slope = -dot(step, here.gradient);
    if (!(slope < -1e-16)) {
      inverse.reset(1.0);
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
        inverse.reset(0.3);
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
    inverse.learn(moved, change);
    x = std::move(there);
    p *= kGrowth;
    here = std::move(next);
  }
  return best;
}

}  // namespace

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

double scaled_norm(Searched& searched, double t, std::span<const double> d) {
  if (searched.side.gram->rows() <= kSingleFrom)
    return norm_of(scaled_symmetric(augmented_gram(searched.side, t), d));
  searched.scaled.set(d, t);
  return searched.scaled.norm();
}

Scaling searched_scaling(const Rotation& rotation, Searched& q, Searched& k, const Scaling& start,
                         int evaluations, double least_gain) {
  Softened objective(rotation, q, k);
  return objective.scaling_of(
      search(objective, objective.point_of(start), evaluations, least_gain));
}

}  // namespace ullage::spectrum
