// The supremum over offsets: seen at samples, and bounded over all that a context has.
#include <cblas.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <queue>
#include <utility>

#include "spectrum/lanczos.h"
#include "spectrum/lapack.h"
#include "spectrum/rope.h"
#include "ullage/spectrum/certificate.h"
#include "ullage/spectrum/spectrum.h"

namespace ullage::spectrum {

namespace {

constexpr double kUnit = 0x1p-53;

std::size_t at(int i) { return static_cast<std::size_t>(i); }

// Turns the rows of x (head_dim x columns, column c by offsets[c]), forwards or backwards.
class Turns {
 public:
  Turns(const Rotation& rotation, std::span<const double> offsets)
      : rotation_(rotation), columns_(offsets.size()) {
    for (const double frequency : rotation.frequencies) {
      for (const double offset : offsets) {
        cosines_.push_back(std::cos(offset * frequency));
        sines_.push_back(std::sin(offset * frequency));
      }
    }
  }
  void apply(Matrix& x, double direction) const {
    for (std::size_t p = 0; p < rotation_.pairs.size(); ++p) {
      double* first = x.row(rotation_.pairs[p][0]).data();
      double* second = x.row(rotation_.pairs[p][1]).data();
      const double* cosine = cosines_.data() + p * columns_;
      const double* sine = sines_.data() + p * columns_;
      for (std::size_t c = 0; c < columns_; ++c) {
        const double u = first[c];
        const double v = second[c];
        first[c] = cosine[c] * u - direction * sine[c] * v;
        second[c] = direction * sine[c] * u + cosine[c] * v;
      }
    }
  }

 private:
  const Rotation& rotation_;
  std::size_t columns_;
  std::vector<double> cosines_;
  std::vector<double> sines_;
};

// Largest eigenvalues of L_B^T R_t^T G_A R_t L_B for a batch of offsets, Lanczos' recurrence run side by side: three
// products of head_dim x head_dim by the batch a step.
std::vector<double> batch_largest(const Rotation& rotation, const Matrix& g_a, const Matrix& factor,
                                  std::span<const double> offsets, int steps) {
  const int n = g_a.rows();
  const auto batch = static_cast<int>(offsets.size());
  const Turns turns(rotation, offsets);
  constexpr double kConverged = 1e-13;
  const int limit = steps > 0 ? steps : 4 * n + 8;
  Matrix before(n, batch);
  Matrix current(n, batch);
  {
    std::vector<double> start(at(n));
    fill_start(start);
    const double norm = norm2(start);
    for (int i = 0; i < n; ++i) {
      for (double& value : current.row(i)) value = start[at(i)] / norm;
    }
  }
  std::vector<std::vector<double>> diagonal(at(batch));
  std::vector<std::vector<double>> off(at(batch));
  std::vector<double> last(at(batch), -1.0);
  std::vector<double> largest(at(batch));
  std::vector<double> above(at(batch));
  std::vector<bool> ended(at(batch));
  const auto column_dot = [&](const Matrix& x, const Matrix& y) {
    std::vector<double> sums(at(batch));
    for (int i = 0; i < n; ++i) {
      for (int c = 0; c < batch; ++c) sums[at(c)] += x(i, c) * y(i, c);
    }
    return sums;
  };
  for (int step = 0; step < limit; ++step) {
    Matrix next = multiply(factor, current);
    turns.apply(next, 1.0);
    next = multiply(g_a, next);
    turns.apply(next, -1.0);
    next = transposed_multiply(factor, next);
    const std::vector<double> alpha = column_dot(current, next);
    std::vector<double> beta_before(at(batch));
    for (int c = 0; c < batch; ++c) {
      if (!off[at(c)].empty()) beta_before[at(c)] = off[at(c)].back();
    }
    for (int i = 0; i < n; ++i) {
      for (int c = 0; c < batch; ++c) {
        next(i, c) -= alpha[at(c)] * current(i, c) + beta_before[at(c)] * before(i, c);
      }
    }
    std::vector<double> beta = column_dot(next, next);
    const bool check = step % 4 == 3 || step + 1 == limit;
    bool all_ended = true;
    for (int c = 0; c < batch; ++c) {
      double& b = beta[at(c)];
      b = std::sqrt(b);
      if (ended[at(c)]) continue;
      diagonal[at(c)].push_back(alpha[at(c)]);
      above[at(c)] = std::max(above[at(c)], std::abs(alpha[at(c)]) + b + beta_before[at(c)]);
      const bool breakdown = !(b > 1e-15 * above[at(c)]);
      if (breakdown || check) {
        const double value = largest_of_tridiagonal(diagonal[at(c)], off[at(c)]);
        largest[at(c)] = std::max(largest[at(c)], value);
        ended[at(c)] = breakdown || !(value - last[at(c)] > kConverged * value);
        last[at(c)] = value;
      }
      off[at(c)].push_back(b);
      all_ended = all_ended && ended[at(c)];
    }
    if (all_ended) break;
    for (int i = 0; i < n; ++i) {
      for (int c = 0; c < batch; ++c) {
        before(i, c) = beta[at(c)] > 0.0 && !ended[at(c)] ? next(i, c) / beta[at(c)] : 0.0;
      }
    }
    std::swap(before, current);
  }
  return largest;
}

// Principal part of the turning coordinates, scaled by `weights` (one a pair).
Matrix turning_part(const Rotation& rotation, const Matrix& g, std::span<const double> weights) {
  std::vector<int> index;
  std::vector<double> weight;
  for (std::size_t p = 0; p < rotation.pairs.size(); ++p) {
    for (const int i : rotation.pairs[p]) {
      index.push_back(i);
      weight.push_back(weights[p]);
    }
  }
  const auto n = static_cast<int>(index.size());
  Matrix out(n, n);
  for (int i = 0; i < n; ++i) {
    for (int j = 0; j < n; ++j) {
      out(i, j) = g(index[at(i)], index[at(j)]) * weight[at(i)] * weight[at(j)];
    }
  }
  return out;
}

}  // namespace

Supremum sampled_supremum(const Rotation& rotation, const Side& q, const Side& k,
                          const Scaling& scaling, std::span<const double> offsets, int steps) {
  constexpr std::size_t kBatch = 16;
  const Matrix g_a = augmented_gram(q, scaling.t_q);
  const Matrix factor = semidefinite_factor(augmented_gram(k, scaling.t_k));
  Supremum best;
  for (std::size_t begin = 0; begin < offsets.size(); begin += kBatch) {
    const auto part = offsets.subspan(begin, std::min(kBatch, offsets.size() - begin));
    const std::vector<double> values = batch_largest(rotation, g_a, factor, part, steps);
    for (std::size_t i = 0; i < part.size(); ++i) {
      const double value = std::sqrt(std::max(values[i], 0.0));
      if (value > best.value) best = {value, part[i]};
    }
  }
  best.value *= column_factor(q, scaling.t_q) * column_factor(k, scaling.t_k);
  return best;
}

std::vector<double> sampled_offsets(double context, int count) {
  std::vector<double> out;
  if (!(context >= 1.0) || count < 1) return out;
  out.push_back(0.0);
  const double farthest = std::floor(context) - 1.0;
  for (int i = 0; i + 1 < count && farthest >= 1.0; ++i) {
    const double share = count > 2 ? static_cast<double>(i) / (count - 2) : 1.0;
    const double offset = -std::round(std::exp(share * std::log(farthest)));
    if (offset != out.back()) out.push_back(offset);
  }
  return out;
}

ContextBound bounded_context(const Rotation& rotation, const Side& q, const Side& k,
                             const Scaling& scaling, const ContextOptions& options) {
  const Matrix g_q = augmented_gram(q, scaling.t_q);
  const Matrix g_k = augmented_gram(k, scaling.t_k);
  const double factors = round_up(column_factor(q, scaling.t_q) * column_factor(k, scaling.t_k));
  ContextBound out;
  out.bound = certified_scaled(rotation, q, k, scaling);
  if (!(options.context >= 1.0)) return out;

  const std::size_t pairs = rotation.pairs.size();
  std::vector<double> d(pairs);
  for (std::size_t p = 0; p < pairs; ++p) d[p] = scaling.d[at(rotation.pairs[p][0])];
  const double query_part = pairs == 0 ? 0.0 : certified_norm(turning_part(rotation, g_q, d));

  // Integer offsets low .. high; `upper` holds for all of them.
  struct Cell {
    double low;
    double high;
    double upper;
    bool operator<(const Cell& other) const { return upper < other.upper; }
  };
  const auto evaluate = [&](double low, double high) {
    const double centre = std::floor(0.5 * (low + high));
    const double reach = std::max(high - centre, centre - low);
    // Rounding in R G R^T and in its sines and cosines, a few u of the trace each.
    Matrix turned = rotated(rotation, g_k, centre);
    const double slack = 32.0 * kUnit * trace(turned);
    for (int i = 0; i < turned.rows(); ++i) turned(i, i) += slack;
    const Bounded at_centre = bounded_sigma(g_q, turned);
    out.seen = std::max(out.seen, at_centre.estimate * factors);
    ++out.cells;
    std::vector<double> weights(pairs);
    for (std::size_t p = 0; p < pairs; ++p) {
      const double frequency = std::abs(rotation.frequencies[p]);
      // Half the largest angle between an offset of the cell and what `rotated` turned by.
      const double half = 0.5 * frequency * (reach + 4.0 * kUnit * std::abs(centre));
      weights[p] = 2.0 * std::sin(std::min(half, std::numbers::pi / 2.0)) / d[p] * (1.0 + 1e-14);
    }
    const double spread =
        pairs == 0 ? 0.0 : query_part * certified_norm(turning_part(rotation, g_k, weights));
    return Cell{low, high, round_up(round_up(at_centre.bound + spread) * factors)};
  };

  const double farthest = std::floor(options.context) - 1.0;
  std::priority_queue<Cell> cells;
  cells.push(evaluate(-farthest, options.both_signs ? farthest : 0.0));
  while (cells.top().upper > options.slack * out.seen && out.cells + 2 <= options.max_cells) {
    const Cell cell = cells.top();
    if (cell.low == cell.high) break;  // one offset: as sharp as it gets
    cells.pop();
    const double middle = std::floor(0.5 * (cell.low + cell.high));
    cells.push(evaluate(cell.low, middle));
    cells.push(evaluate(middle + 1.0, cell.high));
  }
  out.bound = std::min(out.bound, cells.top().upper);
  return out;
}

}  // namespace ullage::spectrum
