#include "ullage/bounds/qk_norm.h"

#include <algorithm>
#include <cmath>

#include "bounds/upper.h"
#include "ullage/spectrum/certificate.h"

namespace ullage::bounds {

namespace {

// Of each group (pair or lone coordinate): the largest |gain| and the 2-norm of the bias.
struct GroupedNorm {
  std::vector<double> gain;
  std::vector<double> bias;
};

GroupedNorm grouped(const QkNormSide& norm, const Groups& groups) {
  GroupedNorm out;
  out.gain.assign(static_cast<std::size_t>(groups.count), 0.0);
  out.bias.assign(static_cast<std::size_t>(groups.count), 0.0);
  for (std::size_t c = 0; c < norm.gain.size(); ++c) {
    const auto g = static_cast<std::size_t>(groups.of_coordinate[c]);
    out.gain[g] = std::max(out.gain[g], std::abs(norm.gain[c]));
    if (!norm.bias.empty()) out.bias[g] = std::hypot(out.bias[g], norm.bias[c]);
  }
  return out;
}

}  // namespace

Side side_of(const QkNormSide& norm) {
  const int n = static_cast<int>(norm.gain.size());
  const double mean = norm.layer_norm ? 1.0 / norm.width : 0.0;
  Side side;
  side.gram = spectrum::Matrix(n, n);
  for (int i = 0; i < n; ++i) {
    const double gi = norm.gain[static_cast<std::size_t>(i)];
    for (int j = 0; j < n; ++j) {
      const double gj = norm.gain[static_cast<std::size_t>(j)];
      side.gram(i, j) = gi * gj * ((i == j ? 1.0 : 0.0) - mean);
    }
  }
  side.bias.assign(norm.bias.begin(), norm.bias.end());
  side.squared_norm = norm.width;
  side.width = norm.width;
  side.layer_norm = norm.layer_norm;
  return side;
}

double qk_norm_bound(const QkNormSide& query, const QkNormSide& key,
                     std::span<const std::array<int, 2>> pairs, double scale) {
  const Groups groups = groups_of(static_cast<int>(query.gain.size()), pairs);
  const GroupedNorm q = grouped(query, groups);
  const GroupedNorm k = grouped(key, groups);
  double largest_gains = 0.0;
  double query_gain_key_bias = 0.0;  // |G_q b_k|
  double key_gain_query_bias = 0.0;
  double bias_sum = 0.0;
  for (std::size_t g = 0; g < q.gain.size(); ++g) {
    largest_gains = std::max(largest_gains, q.gain[g] * k.gain[g]);
    query_gain_key_bias = std::hypot(query_gain_key_bias, q.gain[g] * k.bias[g]);
    key_gain_query_bias = std::hypot(key_gain_query_bias, k.gain[g] * q.bias[g]);
    bias_sum += q.bias[g] * k.bias[g];
  }
  if (pairs.empty() && !query.bias.empty() && !key.bias.empty()) {
    double product = 0.0;
    double magnitude = 0.0;
    for (std::size_t c = 0; c < query.bias.size(); ++c) {
      product += query.bias[c] * key.bias[c];
      magnitude += std::abs(query.bias[c] * key.bias[c]);
    }
    bias_sum = std::abs(product) + static_cast<double>(query.bias.size()) * 0x1p-52 * magnitude;
  }
  const double root_q = std::sqrt(query.width);
  const double root_k = std::sqrt(key.width);
  // Sums of at most head_dim non-negative terms: relative head_dim u each.
  const double slack = 1.0 + 4.0 * static_cast<double>(query.gain.size()) * 0x1p-53;
  return spectrum::round_up(slack * scale *
                            (root_q * root_k * largest_gains + root_q * query_gain_key_bias +
                             root_k * key_gain_query_bias + bias_sum));
}

std::vector<double> qk_norm_amax(const QkNormSide& side,
                                 std::span<const std::array<int, 2>> pairs) {
  const int n = static_cast<int>(side.gain.size());
  const Groups groups = groups_of(n, pairs);
  const GroupedNorm norm = grouped(side, groups);
  std::vector<int> members(norm.gain.size());
  for (const int g : groups.of_coordinate) ++members[static_cast<std::size_t>(g)];
  // A coordinate of LayerNorm's output is at most sqrt(D - 1): the rest must cancel it.
  const bool sharper = side.layer_norm && side.width == n;
  std::vector<double> out;
  for (const int group : groups.of_coordinate) {
    const auto g = static_cast<std::size_t>(group);
    const double dimension = sharper && members[g] == 1 ? side.width - 1 : side.width;
    out.push_back(spectrum::round_up(std::sqrt(dimension) * norm.gain[g] + norm.bias[g]));
  }
  return out;
}

}  // namespace ullage::bounds
