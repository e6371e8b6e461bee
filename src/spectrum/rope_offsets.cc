// The supremum over offsets: seen at samples, and bounded over all that a context has.
#include <algorithm>
#include <cmath>
#include <functional>
#include <numbers>
#include <queue>
#include <utility>

#include "spectrum/lanczos.h"
#include "spectrum/rope.h"
#include "spectrum/single.h"
#include "spectrum/symmetric_kernels.h"
#include "ullage/spectrum/certificate.h"
#include "ullage/spectrum/spectrum.h"

namespace ullage::spectrum {

namespace {

constexpr double kUnit = 0x1p-53;

std::size_t at(int i) { return static_cast<std::size_t>(i); }

void fill_turns(const Rotation& rotation, SampledTurns& turns) {
  for (const double offset : turns.offsets) {
    for (const double frequency : rotation.frequencies) {
      turns.cosines.push_back(std::cos(offset * frequency));
      turns.sines.push_back(std::sin(offset * frequency));
    }
  }
}

// R_t x, or R_t^T x for direction -1, with the sines and cosines of one offset.
template <class T>
void turn(const Rotation& rotation, const double* cosines, const double* sines, double direction,
          T* x) {
  const std::size_t count = rotation.pairs.size();
  const auto one = [&](std::size_t p, T& first, T& second) {
    const auto cosine = static_cast<T>(cosines[p]);
    const auto sine = static_cast<T>(direction * sines[p]);
    const T u = first, v = second;
    first = cosine * u - sine * v;
    second = sine * u + cosine * v;
  };
  // Coordinates i and i + rotary/2 in two runs, as most models have them: a loop that vectorises.
  const bool runs =
      count > 0 && rotation.pairs[count - 1][0] + 1 == rotation.pairs[0][1] &&
      rotation.pairs[count - 1][1] - rotation.pairs[0][1] + 1 == static_cast<int>(count);
  if (runs) {
    T* const firsts = x + rotation.pairs[0][0];
    T* const seconds = x + rotation.pairs[0][1];
    for (std::size_t p = 0; p < count; ++p) one(p, firsts[p], seconds[p]);
  } else {
    for (std::size_t p = 0; p < count; ++p)
      one(p, x[rotation.pairs[p][0]], x[rotation.pairs[p][1]]);
  }
}

// |A^T R_t B|^2 for each offset, G_A and G_B given as products with kSymmetricBlock vectors, `padded` apart.
template <class T, class Multiply>
ProductSquares squares_at(const Rotation& rotation, int padded, double tolerance, int steps,
                          const SampledTurns& turns, Multiply multiply_a, Multiply multiply_b) {
  const std::span<const double> offsets = turns.offsets;
  const std::size_t pairs = rotation.pairs.size();
  const bool kept = turns.cosines.size() == offsets.size() * pairs;
  ProductSquares out;
  const std::size_t width = at(padded);
  std::vector<T> turned(width * kSymmetricBlock);
  for (std::size_t begin = 0; begin < offsets.size(); begin += kSymmetricBlock) {
    const std::size_t count = std::min<std::size_t>(kSymmetricBlock, offsets.size() - begin);
    SampledTurns own;
    if (!kept) {
      own.offsets.assign(offsets.begin() + static_cast<std::ptrdiff_t>(begin),
                         offsets.begin() + static_cast<std::ptrdiff_t>(begin + count));
      fill_turns(rotation, own);
    }
    const SampledTurns& used = kept ? turns : own;
    const std::size_t first = kept ? begin : 0;
    const auto turn_all = [&](double direction, T* x) {
      for (std::size_t i = 0; i < count; ++i) {
        const std::size_t at_offset = (first + i) * pairs;
        turn(rotation, used.cosines.data() + at_offset, used.sines.data() + at_offset, direction,
             x + i * width);
      }
    };
    const ProductSquares block =
        lanczos_products<T>(kSymmetricBlock, rotation.head_dim, padded, tolerance, steps,
                            multiply_a, [&](const T* x, T* y) {
                              std::copy_n(x, turned.size(), turned.data());
                              turn_all(-1.0, turned.data());
                              multiply_b(turned.data(), y);
                              turn_all(1.0, y);
                            });
    out.values.insert(out.values.end(), block.values.begin(),
                      block.values.begin() + static_cast<std::ptrdiff_t>(count));
    out.resolved = out.resolved && block.resolved;
  }
  return out;
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

SampledTurns sampled_turns(const Rotation& rotation, std::vector<double> offsets) {
  constexpr std::size_t kMostKept = 256;
  SampledTurns turns{std::move(offsets), {}, {}};
  if (turns.offsets.size() <= kMostKept) fill_turns(rotation, turns);
  return turns;
}

Supremum sampled_supremum(const Rotation& rotation, const Side& q, const Side& k,
                          const Scaling& scaling, const SampledTurns& turns, int steps) {
  Matrix room_a, room_b;
  const Matrix& g_a = augmented_gram(q, scaling.t_q, room_a);
  const Matrix& g_b = augmented_gram(k, scaling.t_k, room_b);
  const int most = steps > 0 ? steps : most_lanczos_steps(rotation.head_dim);
  ProductSquares squares;
  double unit = 1.0;
  const bool single = rotation.head_dim > kSingleFrom;
  if (single) {
    const SingleSymmetric a(g_a), b(g_b);
    unit = std::ldexp(1.0, a.half_exponent() + b.half_exponent());
    using Multiply = std::function<void(const float*, float*)>;
    squares = squares_at<float, Multiply>(
        rotation, a.padded(), kSingleTolerance, most, turns,
        [&](const float* x, float* y) { a.multiply_block(x, y); },
        [&](const float* x, float* y) { b.multiply_block(x, y); });
  }
  if (!single || !squares.resolved) {
    unit = 1.0;
    const Square a(g_a), b(g_b);
    const auto multiply = symmetric_kernels<double>().multiply_block;
    using Multiply = std::function<void(const double*, double*)>;
    squares = squares_at<double, Multiply>(
        rotation, a.extent(), 1e-13, most, turns,
        [&](const double* x, double* y) { multiply(a.row(0), a.stride(), a.size(), x, y); },
        [&](const double* x, double* y) { multiply(b.row(0), b.stride(), b.size(), x, y); });
  }
  Supremum best;
  for (std::size_t i = 0; i < squares.values.size(); ++i) {
    const double value = std::sqrt(squares.values[i]) * unit;
    if (value > best.value) best = {value, turns.offsets[i]};
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
