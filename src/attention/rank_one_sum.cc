#include "attention/rank_one_sum.h"

#include <algorithm>
#include <cmath>

namespace ullage::attention {

namespace {

template <class T>
double length(std::span<const T> x) {
  double sum = 0;
  for (const T value : x) sum += static_cast<double>(value) * static_cast<double>(value);
  return std::sqrt(sum);
}

double dot(const double* a, const double* b, std::size_t count) {
  double sum = 0;
  for (std::size_t i = 0; i < count; ++i) sum += a[i] * b[i];
  return sum;
}

// Appends x / |x|, or zeros.
template <class T>
void append_unit(std::vector<double>& out, std::span<const T> x, double norm) {
  for (const T value : x) out.push_back(norm == 0 ? 0 : static_cast<double>(value) / norm);
}

}  // namespace

RankOneSum::RankOneSum(std::size_t tokens, std::size_t rows, std::size_t columns)
    : tokens_(tokens), rows_(rows), columns_(columns), sum_(rows * columns) {}

void RankOneSum::add(std::size_t token, double factor, std::span<const double> left,
                     std::span<const float> right) {
  for (std::size_t i = 0; i < rows_; ++i) {
    for (std::size_t c = 0; c < columns_; ++c)
      sum_[i * columns_ + c] += factor * left[i] * static_cast<double>(right[c]);
  }
  const double left_length = length(left);
  const double right_length = length(right);
  length_sum_ += std::fabs(factor) * left_length * right_length;
  // kPairTokens of the tokens, or all where they are not more.
  if (token * kPairTokens % tokens_ >= kPairTokens) return;
  append_unit(lefts_, left, left_length);
  append_unit(rights_, right, right_length);
}

void RankOneSum::pair_cosines(Coherence& out) const {
  const std::size_t tokens = lefts_.size() / rows_;
  double pairs = 0;
  for (std::size_t a = 0; a < tokens; ++a) {
    for (std::size_t b = 0; b < a; ++b) {
      const double left = dot(&lefts_[a * rows_], &lefts_[b * rows_], rows_);
      const double right = dot(&rights_[a * columns_], &rights_[b * columns_], columns_);
      out.key_cosine += left;
      out.input_cosine += right;
      out.pair_cosine += left * right;
      ++pairs;
    }
  }
  if (pairs == 0) return;
  out.key_cosine /= pairs;
  out.input_cosine /= pairs;
  out.pair_cosine /= pairs;
}

// Power iteration on sum sum^T from the row of largest norm.
double RankOneSum::top_squared_singular_value() const {
  std::vector<double> right(columns_);
  double best = -1;
  for (std::size_t i = 0; i < rows_; ++i) {
    const double norm = dot(&sum_[i * columns_], &sum_[i * columns_], columns_);
    if (norm > best) {
      best = norm;
      std::copy_n(&sum_[i * columns_], columns_, right.begin());
    }
  }
  std::vector<double> left(rows_);
  double value = 0;
  for (int step = 0; step < 200; ++step) {
    const double norm = length(std::span<const double>(right));
    if (norm == 0) return 0;
    for (double& x : right) x /= norm;
    for (std::size_t i = 0; i < rows_; ++i)
      left[i] = dot(&sum_[i * columns_], right.data(), columns_);
    value = dot(left.data(), left.data(), rows_);
    std::fill(right.begin(), right.end(), 0.0);
    for (std::size_t i = 0; i < rows_; ++i) {
      for (std::size_t c = 0; c < columns_; ++c) right[c] += left[i] * sum_[i * columns_ + c];
    }
  }
  return value;
}

Coherence RankOneSum::coherence() const {
  Coherence out;
  pair_cosines(out);
  const double norm = length(std::span<const double>(sum_));
  if (norm == 0) return out;
  out.sum_share = norm / length_sum_;
  out.top_share = top_squared_singular_value() / (norm * norm);
  return out;
}

}  // namespace ullage::attention
