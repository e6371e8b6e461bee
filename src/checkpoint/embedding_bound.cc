#include "checkpoint/embedding_bound.h"

#include <algorithm>
#include <cmath>

namespace ullage::checkpoint {
namespace {

constexpr double kUnit = 0x1p-53;

// Calls body(row index, row) for every row of W, in panels of at most 1 MiB (one row at least).
template <class Body>
Status for_each_row(const WeightMatrix& matrix, const Body& body) {
  const std::uint64_t width = matrix.inputs();
  const std::uint64_t panel = std::max<std::uint64_t>(1, (1 << 17) / width);
  std::vector<double> rows(width * std::min(panel, matrix.outputs()));
  for (std::uint64_t first = 0; first < matrix.outputs(); first += panel) {
    const std::uint64_t count = std::min(panel, matrix.outputs() - first);
    ULLAGE_TRY(matrix.read(first, count, std::span(rows).first(count * width)));
    for (std::uint64_t row = 0; row < count; ++row)
      body(first + row, std::span<const double>(rows).subspan(row * width, width));
  }
  return {};
}

// 0 rows or columns: any number.
Result<WeightMatrix> open_checked(const Tower& tower, const TensorInfo& tensor,
                                  std::uint64_t outputs, std::uint64_t inputs) {
  ULLAGE_ASSIGN(const WeightMatrix matrix, WeightMatrix::open(tower.store, tensor, tower.weights));
  if (outputs != 0 && matrix.outputs() != outputs)
    return mismatch("the rows of this tensor do not fit the model", tower.store.describe(tensor),
                    outputs, matrix.outputs());
  const bool fits = inputs == 0 ? matrix.inputs() >= 1 && matrix.inputs() <= kMaxWidth
                                : matrix.inputs() == inputs;
  if (!fits)
    return mismatch("the columns of this tensor do not fit the model", tower.store.describe(tensor),
                    inputs == 0 ? kMaxWidth : inputs, matrix.inputs());
  return matrix;
}

// The bias beside a Linear's weight, or zeros.
Result<std::vector<double>> read_bias(const Tower& tower, const TensorInfo& weight, int width) {
  std::string name(weight.name);
  name.replace(name.rfind(".weight"), 7, ".bias");
  if (const TensorInfo* bias = tower.store.find(name))
    return read_vector(tower.store, *bias, static_cast<std::uint64_t>(width));
  return std::vector<double>(width, 0.0);
}

double squared_length(std::span<const double> values) {
  double sum = 0;
  for (const double value : values) sum += value * value;
  return sum;
}

// Larger than the true length of a vector whose squares were summed in double.
double length_bound(double squared, std::size_t terms) {
  return std::sqrt(squared * (1 + static_cast<double>(terms + 8) * kUnit)) * (1 + 4 * kUnit);
}

// Whether tau I - G is positive definite, G by its lower triangle.
bool dominates(double tau, const std::vector<double>& gram, int n) {
  std::vector<double> factor(gram);
  for (double& value : factor) value = -value;
  for (int i = 0; i < n; ++i) {
    double* row = &factor[static_cast<std::size_t>(i) * n];
    row[i] += tau;
    for (int j = 0; j < i; ++j) {
      const double* other = &factor[static_cast<std::size_t>(j) * n];
      double sum = row[j];
      for (int k = 0; k < j; ++k) sum -= row[k] * other[k];
      row[j] = sum / other[j];
    }
    double pivot = row[i];
    for (int k = 0; k < i; ++k) pivot -= row[k] * row[k];
    if (!(pivot > 0)) return false;
    row[i] = std::sqrt(pivot);
  }
  return true;
}

// An estimate of the largest eigenvalue, from below, by power iteration.
double estimate(const std::vector<double>& gram, int n) {
  std::vector<double> x(n, 1.0), y(n);
  for (int i = 0; i < n; ++i) x[i] += 0.5 * std::sin(i + 1.0);  // no symmetry to be orthogonal to
  double value = 0;
  for (int step = 0; step < 40; ++step) {
    const double length = std::sqrt(squared_length(x));
    if (!(length > 0)) return 0;
    for (double& entry : x) entry /= length;
    std::fill(y.begin(), y.end(), 0.0);
    for (int i = 0; i < n; ++i) {
      const double* row = &gram[static_cast<std::size_t>(i) * n];
      for (int j = 0; j < i; ++j) {
        y[i] += row[j] * x[j];
        y[j] += row[j] * x[i];
      }
      y[i] += row[i] * x[i];
    }
    value = std::sqrt(squared_length(y));
    x.swap(y);
  }
  return value;
}

}  // namespace

NormBound::NormBound(int columns) : columns_(columns) {
  if (columns <= kMaxGramWidth) gram_.assign(static_cast<std::size_t>(columns) * columns, 0.0);
}

void NormBound::add_row(std::span<const double> row) {
  ++rows_;
  trace_ += squared_length(row);
  if (gram_.empty()) return;
  if (static_cast<double>(rows_) * columns_ * columns_ > kMaxGramProducts) return gram_.clear();
  for (int i = 0; i < columns_; ++i) {
    double* out = &gram_[static_cast<std::size_t>(i) * columns_];
    for (int j = 0; j <= i; ++j) out[j] += row[i] * row[j];
  }
}

double NormBound::value() const {
  const double frobenius = length_bound(trace_, rows_ + columns_);
  if (gram_.empty() || !std::isfinite(trace_) || trace_ == 0) return frobenius;
  const double n = static_cast<double>(rows_), w = columns_;
  const double of_gram = n * kUnit / (1 - n * kUnit) * frobenius * frobenius;
  const double top = estimate(gram_, columns_);
  if (!(top > 0)) return frobenius;
  for (double width = 1e-4; top * (1 + width) < trace_; width *= 4) {
    const double tau = top * (1 + width);
    if (dominates(tau, gram_, columns_))
      return std::min(frobenius,
                      std::sqrt(tau * (1 + 4 * (w + 1) * w * kUnit) + of_gram) * (1 + 8 * kUnit));
  }
  return frobenius;
}

Result<double> token_norm_bound(const Tower& tower, const TensorInfo& table,
                                const TensorInfo* projection, int width) {
  std::uint64_t row_width = static_cast<std::uint64_t>(width);
  double factor = 1, offset = 0;
  if (projection != nullptr) {
    ULLAGE_ASSIGN(const WeightMatrix matrix,
                  open_checked(tower, *projection, static_cast<std::uint64_t>(width), 0));
    row_width = matrix.inputs();
    NormBound bound(static_cast<int>(row_width));
    ULLAGE_TRY(for_each_row(
        matrix, [&](std::uint64_t, std::span<const double> row) { bound.add_row(row); }));
    factor = bound.value();
    ULLAGE_ASSIGN(const auto bias, read_bias(tower, *projection, width));
    offset = length_bound(squared_length(bias), bias.size());
  }
  ULLAGE_ASSIGN(const WeightMatrix matrix, open_checked(tower, table, 0, row_width));
  double largest = 0;
  ULLAGE_TRY(for_each_row(matrix, [&](std::uint64_t, std::span<const double> row) {
    const double squared = squared_length(row);
    if (squared > largest || std::isnan(squared)) largest = squared;
  }));
  return (length_bound(largest, row_width) * factor + offset) * (1 + 4 * kUnit);
}

Result<double> projected_norm_bound(const Tower& tower, const std::string& norm,
                                    const TensorInfo& projection, int width) {
  ULLAGE_ASSIGN(const WeightMatrix matrix,
                open_checked(tower, projection, static_cast<std::uint64_t>(width), 0));
  const int inner = static_cast<int>(matrix.inputs());
  ULLAGE_ASSIGN(const InputNorm input, read_norm(tower, norm, true, false, inner));
  ULLAGE_ASSIGN(std::vector<double> offset, read_bias(tower, projection, width));
  NormBound bound(inner);
  std::vector<double> folded(inner);
  double unprojected = 0;  // for the rounding of what goes into the Gram matrix
  double offset_error = 0;
  ULLAGE_TRY(for_each_row(matrix, [&](std::uint64_t at, std::span<const double> row) {
    double mean = 0;
    for (int j = 0; j < inner; ++j) mean += folded[j] = row[j] * input.gain[j];
    unprojected += squared_length(folded);
    mean /= inner;  // n sums to zero: what is constant in a row does nothing
    for (double& value : folded) value -= mean;
    bound.add_row(folded);
    double size = std::abs(offset[at]);
    for (int j = 0; j < inner && !input.bias.empty(); ++j) {
      offset[at] += row[j] * input.bias[j];
      size += std::abs(row[j] * input.bias[j]);
    }
    offset_error += size * (inner + 2) * kUnit;
  }));
  const double spectral = bound.value() + 2 * (inner + 4) * kUnit * std::sqrt(unprojected);
  const double length = spectral * std::sqrt(static_cast<double>(inner)) +
                        length_bound(squared_length(offset), static_cast<std::size_t>(width)) +
                        offset_error;
  return length * (1 + 8 * kUnit);
}

}  // namespace ullage::checkpoint
