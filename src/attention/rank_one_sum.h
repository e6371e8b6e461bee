// sum over tokens of e_T (P K)_T^T x_T: the error of a weight gradient, and how its rank-1 terms align.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "ullage/attention/study.h"

namespace ullage::attention {

class RankOneSum {
 public:
  // Left vectors of `rows` entries, right ones of `columns`, one of each for any of `tokens` tokens.
  RankOneSum(std::size_t tokens, std::size_t rows, std::size_t columns);

  void add(std::size_t token, double factor, std::span<const double> left,
           std::span<const float> right);

  [[nodiscard]] Coherence coherence() const;

 private:
  // Pairs are taken among so many tokens, evenly spaced: cosines cost the square of their number.
  static constexpr std::size_t kPairTokens = 64;

  void pair_cosines(Coherence& out) const;
  [[nodiscard]] double top_squared_singular_value() const;

  std::size_t tokens_;
  std::size_t rows_;
  std::size_t columns_;
  std::vector<double> sum_;    // rows x columns
  double length_sum_ = 0;      // sum |e||left||right|
  std::vector<double> lefts_;  // unit vectors of those tokens
  std::vector<double> rights_;
};

}  // namespace ullage::attention
