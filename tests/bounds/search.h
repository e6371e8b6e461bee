// Inputs that come as close to a bound as a search finds: what no certificate may fall below.
#pragma once

#include <algorithm>
#include <cmath>
#include <random>
#include <span>
#include <vector>

#include "bounds/made.h"

namespace ullage::bounds::made {

// |sum over pairs| of the best turn of each: q^T R k with every angle free, which covers all offsets. Pairs are
// aligned with the sign of what cannot turn.
inline double best_turned(const std::vector<double>& q, const std::vector<double>& k,
                          std::span<const std::array<int, 2>> pairs,
                          std::vector<double>* angles = nullptr) {
  std::vector<bool> turns(q.size());
  double turned = 0.0;
  for (const auto& [i, j] : pairs) {
    const auto a = static_cast<std::size_t>(i);
    const auto b = static_cast<std::size_t>(j);
    turns[a] = turns[b] = true;
    turned += std::hypot(q[a], q[b]) * std::hypot(k[a], k[b]);
  }
  double fixed = 0.0;
  for (std::size_t c = 0; c < q.size(); ++c) {
    if (!turns[c]) fixed += q[c] * k[c];
  }
  const double sign = fixed < 0.0 ? -1.0 : 1.0;
  if (angles != nullptr) {
    angles->clear();
    for (const auto& [i, j] : pairs) {
      const auto a = static_cast<std::size_t>(i);
      const auto b = static_cast<std::size_t>(j);
      angles->push_back(std::atan2(sign * q[b], sign * q[a]) - std::atan2(k[b], k[a]));
    }
  }
  return std::abs(fixed) + turned;
}

// The vector of length `radius` (orthogonal to the ones where asked) that makes |v.n + constant| largest.
inline std::vector<double> best_input(std::vector<double> v, double radius, bool centred,
                                      double constant) {
  if (centred) {
    double mean = 0.0;
    for (const double x : v) mean += x;
    mean /= static_cast<double>(v.size());
    for (double& x : v) x -= mean;
  }
  const double length = spectrum::norm2(v);
  if (length == 0.0) return v;
  for (double& x : v) x *= (constant < 0.0 ? -radius : radius) / length;
  return v;
}

inline std::vector<double> project(const Projection& p, const std::vector<double>& n) {
  std::vector<double> out = spectrum::multiply(p.rows, n);
  for (std::size_t i = 0; i < out.size() && i < p.bias.size(); ++i) out[i] += p.bias[i];
  return out;
}

// The largest |q^T R k| that alternating maximisation over both inputs and all angles finds.
inline double search_score(const Projection& q, const Projection& k,
                           std::span<const std::array<int, 2>> pairs, double q_radius,
                           double k_radius, std::mt19937_64& random, int starts = 8,
                           int rounds = 60) {
  double best = 0.0;
  const std::vector<std::array<int, 2>> list(pairs.begin(), pairs.end());
  for (int start = 0; start < starts; ++start) {
    std::vector<double> nk =
        best_input(gaussian(k.rows.columns(), 1.0, random), k_radius, k.layer_norm, 1.0);
    std::vector<double> nq =
        best_input(gaussian(q.rows.columns(), 1.0, random), q_radius, q.layer_norm, 1.0);
    std::vector<double> angles(list.size());
    for (double& angle : angles) angle = 6.28 * std::generate_canonical<double, 30>(random);
    for (int round = 0; round < rounds; ++round) {
      const std::vector<double> rk = turn(project(k, nk), list, angles);
      nq = best_input(spectrum::transposed_multiply(q.rows, rk), q_radius, q.layer_norm,
                      q.bias.empty() ? 0.0 : spectrum::dot(q.bias, rk));
      const std::vector<double> qv = project(q, nq);
      best = std::max(best, best_turned(qv, project(k, nk), pairs, &angles));
      std::vector<double> back = angles;
      for (double& angle : back) angle = -angle;
      const std::vector<double> rq = turn(qv, list, back);
      nk = best_input(spectrum::transposed_multiply(k.rows, rq), k_radius, k.layer_norm,
                      k.bias.empty() ? 0.0 : spectrum::dot(k.bias, rq));
      best = std::max(best, best_turned(qv, project(k, nk), pairs, &angles));
    }
  }
  return best;
}

}  // namespace ullage::bounds::made
