#include "ullage/attention/statistics.h"

#include <algorithm>
#include <cmath>

#include "attention/elementary.h"

namespace ullage::attention {

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// Tail sums are relative to the row's maximum; `gap` = m_old - m_new <= 0 moves them to a new one.
double moved(double tail_with_top, double gap, double power) {
  return tail_with_top * exp_of(power * gap);
}

bool empty(const RowStatistics& row) { return row.maximum == -kInfinity; }

// Both ends of jacobian_norm; the row is not empty, p1 its largest probability.
double jacobian_upper(const RowStatistics& row, double p1) {
  if (row.second == row.maximum) return p1;
  // 1 - sum p^2 = (l^2 - l_2) / l^2 with l^2 - l_2 = 2 tail + tail^2 - tail_squares.
  const double mixed = (2 * row.tail + row.tail * row.tail - row.tail_squares) * p1 * p1;
  return std::min({p1, 2 * p1 * (row.tail * p1), mixed});
}

double jacobian_lower(const RowStatistics& row, double p1, double upper) {
  if (row.second == row.maximum) return p1;
  const double p2 = p1 * exp_of(row.second - row.maximum);
  const double published = p1 * (row.tail * p1);
  // Top eigenvalue of [[p1 (1 - p1), -p1 p2], [-p1 p2, p2 (1 - p2)]].
  const double second = p2 * (1 - p2);
  const double mean = 0.5 * (published + second);
  const double half = 0.5 * (published - second);
  const double lead = mean + std::sqrt(half * half + (p1 * p2) * (p1 * p2));
  return std::min(std::max(published, lead), upper);
}

}  // namespace

void RowStatistics::merge(const RowStatistics& other) {
  max_abs = std::max(max_abs, other.max_abs);
  squared_scores += other.squared_scores;
  keys += other.keys;
  if (other.maximum == -kInfinity) return;
  if (maximum == -kInfinity) {
    maximum = other.maximum;
    second = other.second;
    tail = other.tail;
    tail_squares = other.tail_squares;
    repeats = other.repeats;
    return;
  }
  const bool other_leads = other.maximum > maximum;
  const double low = other_leads ? maximum : other.maximum;
  const double gap = low - (other_leads ? other.maximum : maximum);
  const double lead_tail = other_leads ? other.tail : tail;
  const double lead_squares = other_leads ? other.tail_squares : tail_squares;
  const double low_tail = other_leads ? tail : other.tail;
  const double low_squares = other_leads ? tail_squares : other.tail_squares;
  second = std::max(low, other_leads ? other.second : second);
  if (gap == 0)
    repeats += other.repeats;
  else if (other_leads)
    repeats = other.repeats;
  maximum = std::max(maximum, other.maximum);
  tail = lead_tail + moved(1 + low_tail, gap, 1);
  tail_squares = lead_squares + moved(1 + low_squares, gap, 2);
}

void add_score(RowStatistics& row, double score) {
  row.merge({.maximum = score,
             .max_abs = std::fabs(score),
             .squared_scores = score * score,
             .keys = 1,
             .repeats = 1});
}

void add_sink(RowStatistics& row, double score) { row.merge({.maximum = score}); }

double largest_probability(const RowStatistics& row) { return empty(row) ? 0 : 1 / (1 + row.tail); }

double remaining_probability(const RowStatistics& row) {
  return empty(row) ? 0 : row.tail / (1 + row.tail);
}

double squared_probabilities(const RowStatistics& row) {
  const double sum = 1 + row.tail;
  return empty(row) ? 0 : (1 + row.tail_squares) / (sum * sum);
}

Interval jacobian_norm(const RowStatistics& row) {
  if (empty(row)) return {};
  const double p1 = largest_probability(row);
  const double upper = jacobian_upper(row, p1);
  return {jacobian_lower(row, p1, upper), upper};
}

double jacobian_norm(std::span<const double> weights) {
  if (weights.size() < 2) return 0;
  std::size_t top = 0;
  double sum = 0;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    sum += weights[i];
    if (weights[i] > weights[top]) top = i;
  }
  const double first = weights[top];
  double second = 0;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    if (i != top) second = std::max(second, weights[i]);
  }
  if (first == second) return first / sum;
  // first / (first - x) rises and sum of the others' w / (x - w) falls on (second, first).
  const auto above_root = [&](double x) {
    double others = 0;
    for (std::size_t i = 0; i < weights.size(); ++i) {
      if (i != top) others += weights[i] / (x - weights[i]);
    }
    return first / (first - x) > others;
  };
  double low = second;
  double high = first;
  for (;;) {
    const double middle = 0.5 * (low + high);
    if (middle <= low || middle >= high) return middle / sum;
    (above_root(middle) ? high : low) = middle;
  }
}

HeadStatistics reduce(std::span<const RowStatistics> rows) {
  HeadStatistics head;
  double score_squares = 0;
  double probability_squares = 0;
  for (const RowStatistics& row : rows) {
    if (empty(row)) {
      ++head.empty_rows;
      continue;
    }
    ++head.rows;
    head.repeated_rows += row.repeats > 1 ? 1 : 0;
    head.max_abs = std::max(head.max_abs, row.max_abs);
    score_squares += row.squared_scores;
    const double p1 = largest_probability(row);
    const double squares = (1 + row.tail_squares) * p1 * p1;
    probability_squares += squares;
    const double ratio = std::sqrt(row.squared_scores / squares);
    const double upper = jacobian_upper(row, p1);
    head.jacobian.upper = std::max(head.jacobian.upper, upper);
    head.row_condition.upper = std::max(head.row_condition.upper, upper * ratio);
    // The lower end takes an exponential, and few rows can raise the largest one.
    if (upper <= head.jacobian.lower && upper * ratio <= head.row_condition.lower) continue;
    const double lower = jacobian_lower(row, p1, upper);
    head.jacobian.lower = std::max(head.jacobian.lower, lower);
    head.row_condition.lower = std::max(head.row_condition.lower, lower * ratio);
  }
  head.score_norm = std::sqrt(score_squares);
  head.probability_norm = std::sqrt(probability_squares);
  return head;
}

void HeadStatistics::merge(const HeadStatistics& other) {
  const auto raise = [](Interval& to, const Interval& from) {
    to.lower = std::max(to.lower, from.lower);
    to.upper = std::max(to.upper, from.upper);
  };
  rows += other.rows;
  empty_rows += other.empty_rows;
  repeated_rows += other.repeated_rows;
  max_abs = std::max(max_abs, other.max_abs);
  score_norm = std::hypot(score_norm, other.score_norm);
  probability_norm = std::hypot(probability_norm, other.probability_norm);
  raise(jacobian, other.jacobian);
  raise(row_condition, other.row_condition);
}

Interval kappa_softmax(const HeadStatistics& head) {
  if (head.probability_norm == 0) return {};
  const double ratio = head.score_norm / head.probability_norm;
  return {head.jacobian.lower * ratio, head.jacobian.upper * ratio};
}

double kappa_score(double query_norm, double key_norm, double score_norm, std::size_t width) {
  const double numerator = query_norm * key_norm;
  if (numerator == 0) return 0;
  return numerator / (score_norm * std::sqrt(static_cast<double>(width)));
}

}  // namespace ullage::attention
