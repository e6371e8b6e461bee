#include "ullage/attention/statistics.h"

#include <algorithm>
#include <array>
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

// NaN where either is: std::max() would drop one of the two.
double larger(double a, double b) { return a >= b || std::isnan(a) ? a : b; }

void raise(Interval& to, const Interval& from) {
  to.lower = larger(to.lower, from.lower);
  to.upper = larger(to.upper, from.upper);
}

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
  max_abs = larger(max_abs, other.max_abs);
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
  second = larger(low, other_leads ? other.second : second);
  if (gap == 0)
    repeats += other.repeats;
  else if (other_leads)
    repeats = other.repeats;
  maximum = larger(maximum, other.maximum);
  tail = lead_tail + moved(1 + low_tail, gap, 1);
  tail_squares = lead_squares + moved(1 + low_squares, gap, 2);
}

void RowStatistics::invalidate() {
  maximum = second = tail = tail_squares = max_abs = std::numeric_limits<double>::quiet_NaN();
  repeats = 0;
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
  if (std::isnan(p1)) return {p1, p1};
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

namespace {

// Rows that are reduced together.
constexpr std::size_t kReduced = 64;

// The upper ends of a row's |J|_2 and, squared, of its |J|_2 |s|_2 / |p|_2; zeros for an empty row.
struct UpperEnds {
  double jacobian = 0;
  double condition_squared = 0;
};

struct Reduction {
  HeadStatistics head;
  double score_squares = 0;
  double probability_squares = 0;
};

double probability_squares(const RowStatistics& row, double p1) {
  return (1 + row.tail_squares) * p1 * p1;
}

UpperEnds add_row(Reduction& sums, const RowStatistics& row) {
  HeadStatistics& head = sums.head;
  if (empty(row)) {
    ++head.empty_rows;
    return {};
  }
  ++head.rows;
  head.repeated_rows += row.repeats > 1 ? 1 : 0;
  head.max_abs = larger(head.max_abs, row.max_abs);
  const double p1 = largest_probability(row);
  const double squares = probability_squares(row, p1);
  sums.score_squares += row.squared_scores;
  sums.probability_squares += squares;
  // min() of a NaN and a number may be the number.
  const double upper = std::isnan(p1) ? p1 : jacobian_upper(row, p1);
  return {upper, upper * upper * (row.squared_scores / squares)};
}

// Takes the intervals of a row into the head's, where they can make a difference: a row whose upper
// ends are not above the largest lower ones can not, but for the last bits of a square. So few rows
// need the root and the lower end's exponential.
void raise_intervals(HeadStatistics& head, const RowStatistics& row, const UpperEnds& ends) {
  const double seen = head.row_condition.lower;
  if (ends.jacobian <= head.jacobian.lower && ends.condition_squared <= seen * seen) return;
  const double p1 = largest_probability(row);
  const double lower = std::isnan(p1) ? p1 : jacobian_lower(row, p1, ends.jacobian);
  const double ratio = std::sqrt(row.squared_scores / probability_squares(row, p1));
  raise(head.jacobian, {lower, ends.jacobian});
  raise(head.row_condition, {lower * ratio, ends.jacobian * ratio});
}

void add_rows(Reduction& sums, std::span<const RowStatistics> rows) {
  std::array<UpperEnds, kReduced> ends;
  std::size_t widest = 0;
  std::size_t steepest = 0;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    ends[i] = add_row(sums, rows[i]);
    if (ends[i].jacobian > ends[widest].jacobian) widest = i;
    if (ends[i].condition_squared > ends[steepest].condition_squared) steepest = i;
  }
  // First those that leave the fewest others to be looked at.
  raise_intervals(sums.head, rows[widest], ends[widest]);
  raise_intervals(sums.head, rows[steepest], ends[steepest]);
  for (std::size_t i = 0; i < rows.size(); ++i) raise_intervals(sums.head, rows[i], ends[i]);
}

}  // namespace

HeadStatistics reduce(std::span<const RowStatistics> rows) {
  Reduction sums;
  while (!rows.empty()) {
    const std::size_t some = std::min(rows.size(), kReduced);
    add_rows(sums, rows.first(some));
    rows = rows.subspan(some);
  }
  sums.head.score_norm = std::sqrt(sums.score_squares);
  sums.head.probability_norm = std::sqrt(sums.probability_squares);
  return sums.head;
}

void HeadStatistics::merge(const HeadStatistics& other) {
  rows += other.rows;
  empty_rows += other.empty_rows;
  repeated_rows += other.repeated_rows;
  max_abs = larger(max_abs, other.max_abs);
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
