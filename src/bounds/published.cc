#include "ullage/bounds/published.h"

#include <cmath>

namespace ullage::bounds {

double rank_gamma(double rank, double log_count) {
  if (!(log_count > 0.0)) return 1.0;
  const auto exponent = [&](double gamma) { return 0.5 * rank * (gamma - 1.0 - std::log(gamma)); };
  double low = 1.0;
  double high = 2.0;
  while (exponent(high) < log_count) {
    low = high;
    high *= 2.0;
  }
  // Bisection to the last bit: the upper end always satisfies the inequality.
  for (;;) {
    const double middle = low + 0.5 * (high - low);
    if (middle <= low || middle >= high) return high;
    (exponent(middle) < log_count ? low : high) = middle;
  }
}

double rank_aware_alpha(const PublishedModel& model) {
  const auto tokens = static_cast<double>(model.context);
  const double gamma = rank_gamma(model.rank, std::log(2.0 * tokens / model.probability));
  return std::sqrt(2.0 * gamma * model.rank * std::log(4.0 * tokens * tokens / model.probability)) /
         model.width;
}

double rank_agnostic_alpha(const PublishedModel& model) {
  const auto tokens = static_cast<double>(model.context);
  return std::sqrt(2.0 / model.width * std::log(2.0 * tokens * tokens / model.probability));
}

double rank_aware(const PublishedModel& model, double scale, double sigma) {
  return rank_aware_alpha(model) * scale * model.width * sigma;
}

double rank_agnostic(const PublishedModel& model, double scale, double sigma) {
  return rank_agnostic_alpha(model) * scale * model.width * sigma;
}

double exponent_ratio(double width, double rank, double log_count) {
  return width / (rank_gamma(rank, log_count) * rank);
}

}  // namespace ullage::bounds
