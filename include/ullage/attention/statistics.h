// What a softmax row leaves behind when its scores are gone, and what that says of the row.
//
// A flash pass keeps of each row its maximum, the sums of exp and of its square, and a few more; from
// these follow the diagnostics of [N] (arXiv 2510.21770) that would otherwise need the N x N matrices
// S and P: the softmax Jacobian's norm, kappa_softmax, kappa_score, |P|_F and |S|_F.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>

namespace ullage::attention {

// One row s_1 .. s_n of visible scores with maximum m. A sink counts as one more score in all fields
// but max_abs, squared_scores, keys and repeats. A row without a softmax, since a score is NaN or
// +infinity, is NaN in all fields but squared_scores, keys and repeats (0).
struct RowStatistics {
  double maximum = -std::numeric_limits<double>::infinity();
  double second = -std::numeric_limits<double>::infinity();  // of the others; m where m is repeated
  // l - 1 and l_2 - 1, l = sum exp(s - m), l_2 = sum exp(2 (s - m)): one maximum's own 1 stays
  // apart, since 1 - 1 / l loses a small tail.
  double tail = 0;
  double tail_squares = 0;
  double max_abs = 0;         // max |s|
  double squared_scores = 0;  // sum s^2
  std::uint32_t keys = 0;
  std::uint32_t repeats = 0;  // scores equal to m

  // As if the rows' scores had been seen together.
  void merge(const RowStatistics& other);
  // Makes it that of a row without a softmax.
  void invalidate();
};

// Takes in finite scores one by one.
void add_score(RowStatistics& row, double score);
// A sink: a score without a key.
void add_sink(RowStatistics& row, double score);

struct Interval {
  double lower = 0;
  double upper = 0;
};

double largest_probability(const RowStatistics& row);    // p_1 = 1 / l
double remaining_probability(const RowStatistics& row);  // 1 - p_1, without cancellation
double squared_probabilities(const RowStatistics& row);  // sum p^2 = l_2 / l^2

// |J|_2 of J = diag(p) - p p^T: p_1 (1 - p_1) <= |J|_2 <= min(p_1, 2 p_1 (1 - p_1), 1 - sum p^2).
// The lower end is the top eigenvalue of the leading 2 x 2 block (p_1 and p_2), never less than
// p_1 (1 - p_1); p_1 = p_2 gives |J|_2 = p_1, both ends.
Interval jacobian_norm(const RowStatistics& row);

// |J|_2 from a whole row, given exp(s - m) or the probabilities (any common factor): the root x in
// [p_2, p_1] of 0 = sum p_i / (p_i - x), which is 1 = sum p_i^2 / (p_i - x) without its cancellation,
// by bisection to the last bit of FP64. Fewer than two entries: 0.
double jacobian_norm(std::span<const double> weights);

// All rows of one head. A row without a softmax makes all but the counts NaN.
struct HeadStatistics {
  std::size_t rows = 0;           // with at least one visible key or a sink
  std::size_t empty_rows = 0;     // with neither
  std::size_t repeated_rows = 0;  // whose maximum is repeated
  double max_abs = 0;             // max |S|
  double score_norm = 0;          // |S|_F over visible scores
  double probability_norm = 0;    // |P|_F
  Interval jacobian = {};         // max over rows of |J|_2
  // max over rows of |J|_2 |s|_2 / |p|_2: kappa_softmax of [N]'s first version, rows not sampled.
  Interval row_condition = {};

  // As if both ranges of rows had been reduced together, but for the rounding of two squares.
  void merge(const HeadStatistics& other);
};

HeadStatistics reduce(std::span<const RowStatistics> rows);

// |S|_F / |P|_F max |J|_2: kappa_softmax of [N]'s final version, with the exact Jacobian norm in
// place of two power iterations.
Interval kappa_softmax(const HeadStatistics& head);

// |Q|_F |K|_F / (|S|_F sqrt(width)): kappa_score of [N]'s first version with Frobenius norms; at
// least 1 where S = Q K^T / sqrt(width) whole. Infinite where S = 0 and the norms are not.
double kappa_score(double query_norm, double key_norm, double score_norm, std::size_t width);

}  // namespace ullage::attention
