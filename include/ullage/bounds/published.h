// The published probabilistic bounds, under their published names and with their raw values.
#pragma once

#include <cstdint>

namespace ullage::bounds {

struct PublishedModel {
  double width = 0.0;        // d
  double rank = 0.0;         // r = min(d_h, d)
  std::int64_t context = 0;  // N
  double probability = 0.0;  // P
};

// gamma >= 1 with (rank/2)(gamma - 1 - ln gamma) = log_count.
double rank_gamma(double rank, double log_count);

// [R] Proposition 3.4 (i != j, no bias, no RoPE):
//   P[max|S| > alpha s d |M|] <= 2 N^2 exp(-d^2 alpha^2/(2 gamma r))
//                                + N exp(-(r/2)(gamma - 1 - ln gamma)),
// solved with the probability split evenly: alpha = sqrt((2 gamma r/d^2) ln(4 N^2/P)).
double rank_aware_alpha(const PublishedModel& model);

// [R]: alpha = sqrt((2/d) ln(2 N^2/P)).
double rank_agnostic_alpha(const PublishedModel& model);

// alpha s d sigma.
double rank_aware(const PublishedModel& model, double scale, double sigma);
double rank_agnostic(const PublishedModel& model, double scale, double sigma);

// d/(gamma r) with (r/2)(gamma - 1 - ln gamma) = log_count: the ratio of exponents that [R] reports
// as the gain of the rank-aware bound (8x..28x at log_count 30).
double exponent_ratio(double width, double rank, double log_count);

}  // namespace ullage::bounds
