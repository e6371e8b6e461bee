// Heads from explicit projections: what the tests compare against sees A and B, the library sees Grams.
#pragma once

#include <cmath>
#include <random>
#include <vector>

#include "ullage/bounds/head.h"
#include "ullage/spectrum/dense.h"

namespace ullage::bounds::made {

using spectrum::Matrix;

struct Projection {
  Matrix rows;               // A, head_dim x width
  std::vector<double> bias;  // a
  bool layer_norm = false;
};

inline Matrix projected(const Matrix& rows, bool layer_norm) {
  Matrix out = rows;
  if (!layer_norm) return out;
  for (int i = 0; i < out.rows(); ++i) {
    double mean = 0.0;
    for (const double value : rows.row(i)) mean += value;
    mean /= rows.columns();
    for (double& value : out.row(i)) value -= mean;
  }
  return out;
}

// theory: |G - A A^T| <= g_n tr(A A^T), g_n = n u / (1 - n u), and the factor's own error.
inline Side side(const Projection& projection) {
  const Matrix a = projected(projection.rows, projection.layer_norm);
  Side out;
  out.gram = spectrum::multiply_transposed(a, a);
  const double u = 0x1p-53;
  const double g = a.columns() * u / (1.0 - a.columns() * u);
  out.inflation = (g / (1.0 - g) + 4.0 * (a.rows() + 2) * u) * spectrum::trace(out.gram);
  out.bias = projection.bias;
  out.squared_norm = a.columns();
  out.width = a.columns();
  out.layer_norm = projection.layer_norm;
  return out;
}

inline Matrix cross(const Projection& q, const Projection& k) {
  return spectrum::multiply_transposed(projected(q.rows, q.layer_norm),
                                       projected(k.rows, k.layer_norm));
}

// Rotation with pairs and frequencies theta^(-2p/rotary).
inline spectrum::Rotation rotation(int head_dim, int rotary, bool half, double theta = 10000.0) {
  spectrum::Rotation out;
  out.head_dim = head_dim;
  for (int p = 0; p < rotary / 2; ++p) {
    out.pairs.push_back(half ? std::array<int, 2>{p, p + rotary / 2}
                             : std::array<int, 2>{2 * p, 2 * p + 1});
    out.frequencies.push_back(std::pow(theta, -2.0 * p / rotary));
  }
  for (int c = rotary; c < head_dim; ++c) out.fixed.push_back(c);
  return out;
}

// x turned by angle[p] on pair p.
inline std::vector<double> turn(std::vector<double> x, const std::vector<std::array<int, 2>>& pairs,
                                const std::vector<double>& angles) {
  for (std::size_t p = 0; p < pairs.size(); ++p) {
    const double c = std::cos(angles[p]);
    const double s = std::sin(angles[p]);
    double& first = x[static_cast<std::size_t>(pairs[p][0])];
    double& second = x[static_cast<std::size_t>(pairs[p][1])];
    const double turned = c * first - s * second;
    second = s * first + c * second;
    first = turned;
  }
  return x;
}

inline Matrix gaussian(int rows, int columns, double deviation, std::mt19937_64& random) {
  std::normal_distribution<double> normal;  // scaled below: its own deviation may not be 0
  Matrix out(rows, columns);
  for (int i = 0; i < rows; ++i) {
    for (double& value : out.row(i)) value = deviation * normal(random);
  }
  return out;
}

inline std::vector<double> gaussian(int n, double deviation, std::mt19937_64& random) {
  std::normal_distribution<double> normal;  // scaled below: its own deviation may not be 0
  std::vector<double> out(static_cast<std::size_t>(n));
  for (double& value : out) value = deviation * normal(random);
  return out;
}

}  // namespace ullage::bounds::made
