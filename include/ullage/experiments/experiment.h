// The frame of `ullage reproduce`: an experiment computes rows, each beside the published value, and
// says by rule whether the paper's figure was met. JSON and the page are made from the rows alone.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ullage/base/result.h"
#include "ullage/report/page.h"

namespace ullage::experiments {

enum class Verdict : std::uint8_t {
  reproduced,          // within the stated tolerance of the published value
  direction,           // same sign or order, not the same size
  not_reproduced,      // neither
  no_published_value,  // the paper gives none for this row
};
const char* name_of(Verdict verdict);  // "not reproduced"

struct Row {
  std::string quantity;
  std::optional<double> published;
  double ours = 0;
  std::optional<std::array<double, 2>> interval;  // 95 %, where the figure is sampled
  std::int64_t n = 1;                             // samples behind `ours`
  Verdict verdict = Verdict::no_published_value;
  std::string why;  // the rule behind the verdict, or what keeps the figure from being met
};

// reproduced when |ours - published| <= tolerance, else not_reproduced with both said in `why`.
Row compared(std::string quantity, double published, double ours, double tolerance);

enum class Size : std::uint8_t { ordinary, full };

struct Request {
  Size size = Size::ordinary;
  std::uint64_t seed = 0;
  int threads = 0;
};

struct Outcome {
  std::vector<Row> rows;
  std::vector<report::Section> sections;  // pictures of the page, above its table
  double seconds = 0;
};

struct Experiment {
  const char* name;   // "rank-aware"
  const char* paper;  // "[R]", "[F]", "[N]"
  const char* title;  // one line for --list and the page
  const char* needs;  // empty, or the component that this build lacks and how to get it
  Result<Outcome> (*run)(const Request& request);
};

// All experiments, in the order of --list.
std::span<const Experiment> experiments();
const Experiment* find_experiment(std::string_view name);

// Runs it and takes the time.
Result<Outcome> run(const Experiment& experiment, const Request& request);

// {"schema": 1, "name", "size", "run", "rows"}: docs/schema/reproduce.json.
std::string to_json(const Experiment& experiment, const Request& request, const Outcome& outcome);
report::Page to_page(const Experiment& experiment, const Request& request, const Outcome& outcome);

}  // namespace ullage::experiments
