// A study as a table for the terminal and as a page: what is biased, by how much, and how it adds up.
#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "ullage/attention_report.h"
#include "ullage/base/version.h"
#include "ullage/report/numbers.h"

namespace ullage::apps {
namespace {

using report::Align;
using report::Tone;

// Of additions, those with the largest terms are shown.
constexpr std::size_t kShownTerms = 8;
// A mean this improbable under fair signs, and this many standard errors from 0, is a bias.
constexpr double kSignProbability = 1e-6;
constexpr double kStandardErrors = 4;

bool biased(const attention::SignedError& error) {
  return error.sign_probability < kSignProbability &&
         std::fabs(error.mean) > kStandardErrors * error.standard_error;
}

std::string mean_text(const attention::SignedError& error) {
  if (error.count == 0) return error.not_finite > 0 ? "not finite" : "-";
  const std::string text = fmt::format("{:+.3g} +- {:.1g}", error.mean, error.standard_error);
  return error.not_finite == 0 ? text : fmt::format("{} ({} not finite)", text, error.not_finite);
}

report::Cell mean_cell(const attention::SignedError& error) {
  return {mean_text(error), biased(error) ? Tone::bad : Tone::plain};
}

std::string share_text(std::size_t part, std::size_t whole) {
  return whole == 0 ? "-"
                    : report::format_significant(100 * static_cast<double>(part) /
                                                 static_cast<double>(whole)) +
                          " %";
}

std::string name_of(const StudiedCase& studied) { return studied.recipe + ", " + studied.shift; }

report::Section bias_bars(const StudyReport& study) {
  report::BarChart bars;
  bars.heading = {
      "Mean error of O",
      "Signed, in units of the last place of sum p |V| as the recipe stores O; 0 is unbiased."};
  bars.value_label = "mean signed error, ulp";
  bars.series = {"O"};
  for (const StudiedCase& studied : study.cases) {
    bars.names.push_back(name_of(studied));
    bars.values.push_back(studied.found.output.count == 0 ? std::numeric_limits<double>::quiet_NaN()
                                                          : studied.found.output.mean);
  }
  bars.marks = {{0, "unbiased"}};
  return {std::move(bars), report::Place::left};
}

report::Section histograms(const StudyReport& study) {
  report::LineChart chart;
  chart.heading = {"Errors of O",
                   "Share of the elements by signed error; ends hold what is beyond."};
  chart.x_label = "error, ulp";
  chart.y_label = "share of elements";
  for (std::size_t bin = 0; bin < attention::Histogram::kBins; ++bin)
    chart.x.push_back(attention::Histogram::bin_begin(bin));
  for (const StudiedCase& studied : study.cases) {
    report::Series series;
    series.name = name_of(studied);
    series.drawing = report::Drawing::step;
    const auto& counts = studied.found.output_histogram.counts;
    double total = 0;
    for (const std::uint64_t count : counts) total += static_cast<double>(count);
    for (const std::uint64_t count : counts)
      series.y.push_back(total == 0 ? 0 : static_cast<double>(count) / total);
    chart.series.push_back(std::move(series));
  }
  return {std::move(chart), report::Place::right};
}

report::Section accumulation(const StudyReport& study) {
  report::LineChart chart;
  chart.heading = {"Error of delta, summed over simulated steps",
                   "New inputs each step. A sum that keeps its direction is what W_Q gains."};
  chart.x_label = "step";
  chart.y_label = "sum of delta's error";
  for (std::size_t step = 0; step < study.cases.front().accumulated.size(); ++step)
    chart.x.push_back(static_cast<double>(step + 1));
  for (const StudiedCase& studied : study.cases) {
    report::Series series;
    series.name = name_of(studied);
    series.y = studied.accumulated;
    chart.series.push_back(std::move(series));
  }
  return {std::move(chart)};
}

report::Section additions(const StudyReport& study) {
  report::LineChart chart;
  chart.heading = {"One element's sum as it grows: rounded to BF16 minus itself",
                   fmt::format("P-bar V of element {}, term by term. The last point is its error.",
                               study.element)};
  chart.x_label = "term";
  chart.y_label = "rounded - sum";
  for (const StudiedCase& studied : study.cases) {
    report::Series series;
    series.name = name_of(studied);
    series.drawing = report::Drawing::step;
    for (const attention::AdditionStep& step : studied.addition) series.y.push_back(step.error);
    // A row that weighs a single key still has a line.
    if (series.y.size() == 1) series.y.push_back(series.y.front());
    for (std::size_t n = 0; n < series.y.size(); ++n)
      series.x.push_back(static_cast<double>(n + 1));
    if (!series.y.empty()) chart.series.push_back(std::move(series));
  }
  return {std::move(chart)};
}

// The largest terms, in the order in which they are added.
std::vector<std::size_t> shown_terms(const std::vector<attention::AdditionStep>& steps) {
  std::vector<std::size_t> order(steps.size());
  for (std::size_t n = 0; n < order.size(); ++n) order[n] = n;
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return std::fabs(steps[a].term) > std::fabs(steps[b].term);
  });
  order.resize(std::min(order.size(), kShownTerms));
  std::sort(order.begin(), order.end());
  return order;
}

report::Section addition(const StudiedCase& studied, const std::string& element) {
  report::DataTable table;
  table.heading = {
      fmt::format("P-bar V added up, {}, element {}", name_of(studied), element),
      fmt::format("The {} largest terms in their order. Sum: FP32; rounded: the sum as BF16.",
                  std::min(studied.addition.size(), kShownTerms))};
  report::DataColumn place = {.title = "term", .about = "place in the sum"};
  report::DataColumn term = {.title = "value", .digits = 9};
  report::DataColumn sum = {.title = "sum", .digits = 9};
  report::DataColumn sum_bits = {.title = "bits of the sum"};
  report::DataColumn rounded = {.title = "rounded", .digits = 9};
  report::DataColumn rounded_bits = {.title = "bits"};
  report::DataColumn error = {.title = "rounded - sum", .digits = 4};
  for (const std::size_t n : shown_terms(studied.addition)) {
    const attention::AdditionStep& step = studied.addition[n];
    place.numbers.push_back(static_cast<double>(n));
    term.numbers.push_back(static_cast<double>(step.term));
    sum.numbers.push_back(static_cast<double>(step.sum));
    sum_bits.texts.push_back(fmt::format("{:032b}", step.sum_bits));
    rounded.numbers.push_back(static_cast<double>(step.rounded));
    rounded_bits.texts.push_back(fmt::format("{:016b}", step.rounded_bits >> 16));
    error.numbers.push_back(step.error);
  }
  table.columns = {std::move(place),    std::move(term),    std::move(sum),
                   std::move(sum_bits), std::move(rounded), std::move(rounded_bits),
                   std::move(error)};
  return {std::move(table)};
}

report::Section case_table(const StudyReport& study) {
  const report::Table text = study_table(study);
  report::DataTable table;
  table.heading = {"By recipe and shift",
                   "Errors are against softmax attention in FP64 over the stored scores."};
  for (std::size_t c = 0; c < text.columns.size(); ++c) {
    report::DataColumn column = {.title = text.columns[c].title};
    for (const auto& row : text.rows) {
      column.texts.push_back(row[c].text);
      column.tones.push_back(row[c].tone);
    }
    table.columns.push_back(std::move(column));
  }
  return {std::move(table)};
}

}  // namespace

report::Table study_table(const StudyReport& study) {
  report::Table table;
  table.columns = {{.title = "recipe"},
                   {.title = "shift"},
                   {.title = "repeated", .align = Align::right},
                   {.title = "ones", .align = Align::right},
                   {.title = "tail mass", .align = Align::right},
                   {.title = "lost", .align = Align::right},
                   {.title = "error of O, ulp", .align = Align::right},
                   {.title = "sign test", .align = Align::right},
                   {.title = "error of delta", .align = Align::right},
                   {.title = "aligned", .align = Align::right},
                   {.title = "top rank", .align = Align::right}};
  for (const StudiedCase& studied : study.cases) {
    const attention::StudyCase& found = studied.found;
    const bool with_delta = found.delta.count != 0;
    table.rows.push_back(
        {{studied.recipe, Tone::strong},
         {studied.shift},
         {share_text(found.repeated_rows, found.rows)},
         {share_text(found.ones, found.entries)},
         {report::format_significant(found.tail_mass, 2)},
         {report::format_count(found.lost_rows), found.lost_rows > 0 ? Tone::bad : Tone::plain},
         mean_cell(found.output),
         {report::format_significant(found.output.sign_probability, 2)},
         mean_cell(found.delta),
         {with_delta ? report::format_significant(found.alignment.pair_cosine, 2) : "-"},
         {with_delta ? report::format_significant(found.alignment.top_share, 2) : "-"}});
  }
  return table;
}

report::Page study_page(const StudyReport& study) {
  report::Page page;
  page.title = "Rounding of attention: " + study.source;
  page.subtitle = fmt::format("{} heads, {} queries, {} keys, width {}",
                              study.shape.batch * study.shape.query_heads, study.shape.queries,
                              study.shape.keys, study.shape.width);
  std::size_t biased_cases = 0;
  std::size_t lost = 0;
  for (const StudiedCase& studied : study.cases) {
    biased_cases += biased(studied.found.output) ? 1 : 0;
    lost += studied.found.lost_rows;
  }
  page.cards = {
      {"biased", fmt::format("{} of {}", biased_cases, study.cases.size()),
       "cases whose error of O has one sign", biased_cases > 0 ? Tone::warn : Tone::good},
      {"lost rows", report::format_count(lost), "sum lost or output not finite, over all cases",
       lost > 0 ? Tone::bad : Tone::good}};
  page.sections = {case_table(study), bias_bars(study), histograms(study)};
  if (!study.cases.front().accumulated.empty()) page.sections.push_back(accumulation(study));
  const bool added = std::any_of(study.cases.begin(), study.cases.end(),
                                 [](const auto& studied) { return !studied.addition.empty(); });
  if (added) page.sections.push_back(additions(study));
  for (const StudiedCase& studied : study.cases) {
    if (!studied.addition.empty()) page.sections.push_back(addition(studied, study.element));
  }
  page.footer = std::string("ullage ") + version();
  return page;
}

}  // namespace ullage::apps
