#include "ullage/experiments/experiment.h"

#include <chrono>
#include <cmath>

#include "experiments/list.h"
#include "ullage/report/json.h"
#include "ullage/report/numbers.h"

namespace ullage::experiments {
namespace {

constexpr Experiment kExperiments[] = {
    {"rank-aware", "[R]", "The gain of the rank-aware bound: d / (gamma r) of four models", "",
     rank_aware},
    {"rounding-vector", "[F]",
     "One BF16 addition, bit by bit: a small rest turns a tie away from zero", "", rounding_vector},
    {"biased-rounding", "[F]",
     "Mean rounding error of attention where P-bar is exactly 1, by shift", "", biased_rounding},
    {"switches", "[F]", "V0 to V9: which change stops the failure", "", switches},
};

const char* name_of(Size size) { return size == Size::full ? "full" : "default"; }

report::Tone tone_of(Verdict verdict) {
  switch (verdict) {
    case Verdict::reproduced:
      return report::Tone::good;
    case Verdict::direction:
      return report::Tone::warn;
    case Verdict::not_reproduced:
      return report::Tone::bad;
    case Verdict::no_published_value:
      return report::Tone::plain;
  }
  return report::Tone::plain;
}

}  // namespace

const char* name_of(Verdict verdict) {
  switch (verdict) {
    case Verdict::reproduced:
      return "reproduced";
    case Verdict::direction:
      return "direction";
    case Verdict::not_reproduced:
      return "not reproduced";
    case Verdict::no_published_value:
      return "no published value";
  }
  return "no published value";
}

Row compared(std::string quantity, double published, double ours, double tolerance) {
  Row row;
  row.quantity = std::move(quantity);
  row.published = published;
  row.ours = ours;
  const double off = std::abs(ours - published);
  row.verdict = off <= tolerance ? Verdict::reproduced : Verdict::not_reproduced;
  row.why = "off by " + report::format_significant(off, 2) + ", tolerance " +
            report::format_significant(tolerance, 2);
  return row;
}

std::span<const Experiment> experiments() { return kExperiments; }

const Experiment* find_experiment(std::string_view name) {
  for (const Experiment& experiment : kExperiments)
    if (name == experiment.name) return &experiment;
  return nullptr;
}

Result<Outcome> run(const Experiment& experiment, const Request& request) {
  if (*experiment.needs != '\0')
    return Error{Code::usage, experiment.needs, experiment.name, "", ""};
  const auto start = std::chrono::steady_clock::now();
  ULLAGE_ASSIGN(Outcome outcome, experiment.run(request));
  outcome.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return outcome;
}

std::string to_json(const Experiment& experiment, const Request& request, const Outcome& outcome) {
  report::JsonWriter json;
  json.begin_object();
  json.key("schema").integer(1);
  json.key("name").text(experiment.name);
  json.key("size").text(name_of(request.size));
  json.key("run").begin_object(report::JsonLayout::line);
  json.key("seconds").number(outcome.seconds);
  json.key("seed").natural(request.seed);
  json.end();
  json.key("rows").begin_array();
  for (const Row& row : outcome.rows) {
    json.begin_object(report::JsonLayout::line);
    json.key("quantity").text(row.quantity);
    json.key("published");
    if (row.published)
      json.number(*row.published);
    else
      json.null();
    json.key("ours").number(row.ours, "not finite");
    json.key("interval");
    if (row.interval)
      json.begin_array(report::JsonLayout::line)
          .number((*row.interval)[0])
          .number((*row.interval)[1])
          .end();
    else
      json.null();
    json.key("n").integer(row.n);
    json.key("verdict").text(name_of(row.verdict));
    json.key("why").text(row.why);
    json.end();
  }
  json.end();
  json.end();
  return json.take();
}

report::Page to_page(const Experiment& experiment, const Request& request, const Outcome& outcome) {
  report::Page page;
  page.title = std::string("reproduce ") + experiment.name;
  page.subtitle = std::string(experiment.paper) + " " + experiment.title;
  std::size_t counts[4] = {};
  for (const Row& row : outcome.rows) ++counts[static_cast<std::size_t>(row.verdict)];
  for (const Verdict verdict : {Verdict::reproduced, Verdict::direction, Verdict::not_reproduced,
                                Verdict::no_published_value}) {
    const std::size_t count = counts[static_cast<std::size_t>(verdict)];
    page.cards.push_back({name_of(verdict), report::format_count(count),
                          count == 1 ? "row" : "rows",
                          count > 0 ? tone_of(verdict) : report::Tone::plain});
  }
  page.sections = outcome.sections;
  report::DataTable table;
  table.heading = {
      "Every row",
      "Published values stand beside ours; the rule of each verdict is in the last column."};
  report::DataColumn quantity{.title = "quantity"}, published{.title = "published"},
      ours{.title = "ours"}, low{.title = "95 % from"}, high{.title = "to"}, n{.title = "n"},
      verdict{.title = "verdict"}, why{.title = "why"};
  published.digits = ours.digits = low.digits = high.digits = n.digits = 6;
  const auto put = [](report::DataColumn& column, std::optional<double> value, const char* reason) {
    if (!value) column.missing.push_back({column.numbers.size(), reason});
    column.numbers.push_back(value.value_or(NAN));
  };
  for (const Row& row : outcome.rows) {
    quantity.texts.push_back(row.quantity);
    put(published, row.published, "the paper gives none");
    put(ours, row.ours, "");
    put(low, row.interval ? std::optional((*row.interval)[0]) : std::nullopt, "not sampled");
    put(high, row.interval ? std::optional((*row.interval)[1]) : std::nullopt, "not sampled");
    n.numbers.push_back(static_cast<double>(row.n));
    verdict.texts.emplace_back(name_of(row.verdict));
    verdict.tones.push_back(tone_of(row.verdict));
    why.texts.push_back(row.why);
  }
  table.columns = {quantity, published, ours, low, high, n, verdict, why};
  page.sections.push_back({std::move(table), report::Place::full});
  page.footer =
      "size " + std::string(name_of(request.size)) + ", seed " + std::to_string(request.seed);
  return page;
}

}  // namespace ullage::experiments
