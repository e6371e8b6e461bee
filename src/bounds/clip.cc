#include "ullage/bounds/clip.h"

#include <algorithm>
#include <cmath>

#include "bounds/upper.h"
#include "ullage/spectrum/certificate.h"

namespace ullage::bounds {

namespace {

using spectrum::round_up;

std::vector<double> scaled_vector(std::span<const double> x, std::span<const double> d,
                                  bool inverse) {
  std::vector<double> out(x.begin(), x.end());
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = inverse ? out[i] / d[i] : out[i] * d[i];
  return out;
}

// min(sqrt(d)|DA| + |Da|, |D r|).
double longest_side(const Head& head, const Side& side, std::span<const double> scaling,
                    bool inverse) {
  const std::vector<double> limits = clipped_limits(head, side);
  const double free = std::sqrt(side.squared_norm) * upper_scaled_norm(side, scaling, inverse) +
                      upper_norm(scaled_vector(side.bias, scaling, inverse));
  return std::min(free, upper_norm(scaled_vector(limits, scaling, inverse)));
}

}  // namespace

std::vector<double> clipped_limits(const Head& head, const Side& side) {
  const int n = side.gram.rows();
  std::vector<bool> turns(static_cast<std::size_t>(n), head.rotation_unknown);
  for (const std::array<int, 2>& pair : pairs_of(head)) {
    for (const int c : pair) turns[static_cast<std::size_t>(c)] = true;
  }
  std::vector<double> limits;
  for (int c = 0; c < n; ++c) {
    const auto index = static_cast<std::size_t>(c);
    // Where it is not known whether a coordinate turns, the larger of both.
    double factor = turns[index] ? std::abs(head.attention_factor) : 1.0;
    if (head.rotation_unknown) factor = std::max(factor, 1.0);
    const double clip = head.clip * factor;
    const double bias = side.bias.empty() ? 0.0 : std::abs(side.bias[index]) + side.bias_error;
    const double free = std::sqrt(side.squared_norm) * upper_pair_norm(side, c, c) + bias;
    limits.push_back(std::min(round_up(clip), round_up(free)));
  }
  return limits;
}

double clipped_coordinate_sum(const Head& head) {
  const std::vector<double> q = clipped_limits(head, head.query);
  const std::vector<double> k = clipped_limits(head, head.key);
  const Groups groups = groups_of(head.query.gram.rows(), pairs_of(head));
  std::vector<double> q_norm(static_cast<std::size_t>(groups.count));
  std::vector<double> k_norm(static_cast<std::size_t>(groups.count));
  for (std::size_t c = 0; c < q.size(); ++c) {
    const auto g = static_cast<std::size_t>(groups.of_coordinate[c]);
    q_norm[g] = std::hypot(q_norm[g], q[c]);
    k_norm[g] = std::hypot(k_norm[g], k[c]);
  }
  const double slack = 1.0 + 2.0 * static_cast<double>(q.size()) * 0x1p-53;
  return round_up(head.scale * slack * spectrum::dot(q_norm, k_norm));
}

double clipped_scaled(const Head& head, std::span<const double> scaling) {
  return round_up(head.scale * longest_side(head, head.query, scaling, false) *
                  longest_side(head, head.key, scaling, true));
}

double clipped_bound(const Head& head) {
  const int n = head.query.gram.rows();
  const std::vector<double> ones(static_cast<std::size_t>(n), 1.0);
  double best = clipped_scaled(head, ones);
  if (head.rotation_unknown) return best;
  best = std::min(best, clipped_coordinate_sum(head));

  spectrum::Rotation rotation;  // R = I: every coordinate stands alone
  rotation.head_dim = n;
  if (head.rotation != nullptr) {
    rotation = *head.rotation;
  } else {
    for (int c = 0; c < n; ++c) rotation.fixed.push_back(c);
  }
  const spectrum::Matrix query = inflated(head.query);
  const spectrum::Matrix key = inflated(head.key);
  const spectrum::Side q{&query, head.query.bias, std::sqrt(head.query.squared_norm)};
  const spectrum::Side k{&key, head.key.bias, std::sqrt(head.key.squared_norm)};
  // Mixing coordinates does not commute with clamping each.
  for (const spectrum::Scaling& scaling :
       {spectrum::balanced_scaling(rotation, q, k),
        spectrum::optimal_scaling(rotation, q, k, {.mix_fixed = false})}) {
    best = std::min(best, clipped_scaled(head, scaling.d));
  }
  return best;
}

}  // namespace ullage::bounds
