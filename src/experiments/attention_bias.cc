// [F] arXiv 2510.04212: the bit-exact addition, the law of biased rounding, and the ten switches. The
// attention room computes the rows; here they get their verdicts.
#include <array>

#include "experiments/list.h"
#include "ullage/attention/biased_rounding.h"
#include "ullage/attention/switches.h"
#include "ullage/base/parallel.h"

namespace ullage::experiments {
namespace {

// The published micro-benchmark prints three decimals of a mean over 300 rows.
constexpr double kUlpTolerance = 0.015;
// Its delta errors are of the same sampling, in units of |dO|.
constexpr double kDeltaTolerance = 0.02;

Row plain(const attention::ValueRow& value) {
  Row row;
  row.quantity = value.quantity;
  row.ours = value.ours;
  row.n = static_cast<std::int64_t>(value.n);
  if (value.interval) row.interval = std::array{value.interval->lower, value.interval->upper};
  return row;
}

// `reproduced` within the tolerance, `direction` with the same sign, else not.
Row judged(const attention::ValueRow& value, double tolerance) {
  Row row = plain(value);
  if (!value.published) {
    row.why = "the paper gives no value for this recipe and shift";
    return row;
  }
  const Row verdict = compared(value.quantity, *value.published, value.ours, tolerance);
  row.published = value.published;
  row.verdict = verdict.verdict;
  row.why = verdict.why;
  if (row.verdict == Verdict::not_reproduced && row.ours * *row.published > 0)
    row.verdict = Verdict::direction;
  return row;
}

Outcome judged_rows(const std::vector<attention::ValueRow>& values, double tolerance,
                    double delta_tolerance) {
  Outcome outcome;
  for (const attention::ValueRow& value : values)
    outcome.rows.push_back(
        judged(value, value.quantity.ends_with(": delta") ? delta_tolerance : tolerance));
  return outcome;
}

int threads_of(const Request& request) {
  return request.threads > 0 ? request.threads : default_threads();
}

// Mean errors of O by depth of the tail, one series a shift.
report::Section bias_chart(const std::vector<attention::ValueRow>& values) {
  report::BarChart bars;
  bars.heading = {"Mean error of O, in ulp",
                  "Where several P-bar are exactly 1 and V has one sign, the standard softmax "
                  "rounds away from zero."};
  bars.value_label = "mean signed error, ulp";
  bars.series = {"ours"};
  for (const attention::ValueRow& value : values)
    if (value.quantity.ends_with(": output ulp")) {
      bars.names.push_back(value.quantity.substr(0, value.quantity.rfind(':')));
      bars.values.push_back(value.ours);
    }
  bars.marks = {{0, "unbiased"}};
  return {std::move(bars), report::Place::full};
}

}  // namespace

Result<Outcome> rounding_vector(const Request&) {
  ULLAGE_ASSIGN(const auto values, attention::rounding_vector());
  return judged_rows(values, 0, 0);
}

Result<Outcome> biased_rounding(const Request& request) {
  attention::BiasedOptions options;
  options.seed = request.seed + 1;
  options.threads = threads_of(request);
  if (request.size == Size::full) options.rows *= 4;
  ULLAGE_ASSIGN(const auto values, attention::biased_rounding(options));
  Outcome outcome = judged_rows(values, kUlpTolerance, kDeltaTolerance);
  outcome.sections.push_back(bias_chart(values));
  return outcome;
}

Result<Outcome> switches(const Request& request) {
  attention::SwitchOptions options;
  options.threads = threads_of(request);
  if (request.size == Size::full) options.steps *= 4;
  ULLAGE_ASSIGN(const auto values, attention::measure_switches(options));
  return judged_rows(values, 0, 0);
}

}  // namespace ullage::experiments
