#include "ullage/bounds/projections.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "bounds/upper.h"
#include "ullage/bounds/clip.h"
#include "ullage/spectrum/certificate.h"

namespace ullage::bounds {

namespace {

using spectrum::round_up;

double bias_at(const Side& side, int c) {
  if (side.bias.empty()) return 0.0;
  return std::abs(side.bias[static_cast<std::size_t>(c)]) + side.bias_error;
}

}  // namespace

std::vector<Rows> rows_of(const Side& side, std::span<const std::array<int, 2>> pairs) {
  std::vector<Rows> rows;
  for (int c = 0; c < side.gram.rows(); ++c) {
    rows.push_back({upper_pair_norm(side, c, c), bias_at(side, c)});
  }
  for (const auto& [i, j] : pairs) {
    const Rows pair = {upper_pair_norm(side, i, j),
                       round_up(std::hypot(bias_at(side, i), bias_at(side, j)))};
    rows[static_cast<std::size_t>(i)] = pair;
    rows[static_cast<std::size_t>(j)] = pair;
  }
  return rows;
}

std::vector<Rows> rows_before_rope(const Side& side, std::span<const std::array<int, 2>> pairs,
                                   double attention_factor) {
  std::vector<Rows> rows = rows_of(side, {});
  if (attention_factor == 1.0) return rows;
  for (const std::array<int, 2>& pair : pairs) {
    for (const int c : pair) {
      Rows& row = rows[static_cast<std::size_t>(c)];
      row.norm = round_up(row.norm / std::abs(attention_factor));
      row.bias = round_up(row.bias / std::abs(attention_factor));
    }
  }
  return rows;
}

std::vector<Rows> rows_of(std::span<const double> squared_norms, std::span<const double> bias) {
  std::vector<Rows> rows;
  for (std::size_t c = 0; c < squared_norms.size(); ++c) {
    rows.push_back({round_up(std::sqrt(squared_norms[c])), bias.empty() ? 0.0 : std::abs(bias[c])});
  }
  return rows;
}

std::vector<std::array<int, 2>> shifted(std::span<const std::array<int, 2>> pairs, int first) {
  std::vector<std::array<int, 2>> out;
  for (const auto& [i, j] : pairs) out.push_back({i + first, j + first});
  return out;
}

double amax(std::span<const Rows> rows, double squared_norm) {
  double largest = 0.0;
  for (const Rows& row : rows) {
    largest = std::max(largest, std::sqrt(squared_norm) * row.norm + row.bias);
  }
  return round_up(largest);
}

double clipped_amax(const Head& head, const Side& side) {
  const std::vector<double> limits = clipped_limits(head, side);
  const std::vector<Rows> rows = rows_of(side, pairs_of(head));
  std::vector<double> lengths = limits;
  for (const auto& [i, j] : pairs_of(head)) {
    const auto a = static_cast<std::size_t>(i);
    const auto b = static_cast<std::size_t>(j);
    lengths[a] = lengths[b] = std::hypot(limits[a], limits[b]);
  }
  // Partners are not known: any other coordinate may be one.
  if (head.rotation_unknown) {
    for (double& length : lengths) length *= std::sqrt(2.0);
  }
  double largest = 0.0;
  for (std::size_t c = 0; c < rows.size(); ++c) {
    const double free = head.rotation_unknown
                            ? std::numeric_limits<double>::infinity()
                            : std::sqrt(side.squared_norm) * rows[c].norm + rows[c].bias;
    largest = std::max(largest, std::min(free, lengths[c]));
  }
  return round_up(largest);
}

double clipped_amax_before_rope(const Head& head, const Side& side) {
  return clipped_amax(
      amax(rows_before_rope(side, pairs_of(head), head.attention_factor), side.squared_norm),
      head.clip);
}

double clipped_amax(double amax, double clip) { return std::min(amax, clip); }

double expected_amax(std::span<const Rows> rows, int width, bool layer_norm, std::int64_t context,
                     double probability) {
  const double factor =
      layer_norm && width > 1 ? std::sqrt(static_cast<double>(width) / (width - 1.0)) : 1.0;
  const double log_count = std::log(2.0 * static_cast<double>(context) / probability);
  // Each coordinate alone asks for this much; the sum asks for more.
  double t = 0.0;
  for (const Rows& row : rows) {
    t = std::max(t, row.bias + factor * row.norm * std::sqrt(2.0 * std::max(log_count, 0.0)));
  }
  // Rows by their inverse norms; zero ones never exceed their bias.
  std::vector<Rows> inverse;
  for (const Rows& row : rows) {
    const double one = 1.0 / (factor * row.norm);
    if (std::isfinite(one)) inverse.push_back({one, row.bias});
  }
  // Newton on the logarithm of the sum as a function of t^2: a straight line where no coordinate
  // has a bias and one of them leads. t >= every bias from the start.
  const auto log_sum = [&](double at, double& slope) {
    double sum = 0.0;
    slope = 0.0;
    for (const Rows& row : inverse) {
      const double z = (at - row.bias) * row.norm;
      const double exponent = log_count - 0.5 * z * z;
      if (exponent < -60.0) continue;
      const double term = std::exp(exponent);
      sum += term;
      slope += term * z * row.norm;
    }
    slope = -0.5 * slope / (sum * at);
    return sum > 0.0 ? std::log(sum) : -std::numeric_limits<double>::infinity();
  };
  if (!(t > 0.0)) return t;
  const double least = t;
  for (int step = 0; step < 60; ++step) {
    double slope = 0.0;
    const double excess = log_sum(t, slope);
    if (excess <= 0.0 && (excess > -1e-9 || t == least)) break;
    const double next = t * t - excess / slope;
    t = std::max(least, next > 0.0 ? std::sqrt(next) : least);
    if (excess > 0.0 && excess < 1e-9) t *= 1.0 + 1e-9;  // ends on the safe side
  }
  return t;
}

double output_amax(double value_amax, double dropout, double probability_unit) {
  return round_up(value_amax * (1.0 + probability_unit) / (1.0 - dropout));
}

double output_projection_amax(std::span<const Rows> heads, double squared_norm, double bias) {
  double sum = std::abs(bias);
  for (const Rows& head : heads) sum += std::sqrt(squared_norm) * head.norm + head.bias;
  return round_up(sum * (1.0 + static_cast<double>(heads.size()) * 0x1p-52));
}

}  // namespace ullage::bounds
