// Writes pages with believable plain data, for the browser test: page_example KIND FILE, where KIND
// is usual (32 x 32), wide (80 x 64), little (6 x 12), ragged or hostile.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <string>
#include <vector>

#include "ullage/report/numbers.h"
#include "ullage/report/output.h"
#include "ullage/report/page.h"

namespace ullage::report {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

// A linear congruential generator (Knuth's MMIX constants): the same page on every machine.
class Noise {
 public:
  double uniform() {
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    return static_cast<double>(state_ >> 11) * 0x1p-53;
  }
  double normal() {
    double sum = -6;
    for (int i = 0; i < 12; ++i) sum += uniform();
    return sum;
  }

 private:
  std::uint64_t state_ = 2024;
};

struct Shape {
  std::size_t rows = 32;
  std::size_t columns = 32;
  std::size_t curve = 48;
  bool ragged = false;
};

struct Made {
  std::vector<double> strength;  // by record
  std::vector<double> room;
  std::vector<Missing> missing;
};

Made make_values(const Shape& shape, Noise& noise) {
  Made made;
  for (std::size_t row = 0; row < shape.rows; ++row) {
    const double depth = static_cast<double>(row) / static_cast<double>(shape.rows);
    for (std::size_t column = 0; column < shape.columns; ++column) {
      const double strength =
          2.1 * std::exp(1.6 * std::exp(-9 * depth) + 0.9 * depth + 0.42 * noise.normal());
      made.strength.push_back(strength);
      made.room.push_back(5.2 - 2.1 * std::log2(strength));
    }
  }
  const std::size_t count = made.room.size();
  if (count > 60) {
    made.room[7] = -2.31;
    made.room[33] = std::numeric_limits<double>::infinity();
    for (const std::size_t at : {std::size_t{40}, count - 5}) {
      made.room[at] = made.strength[at] = kNan;
      made.missing.push_back({at, "values are not finite"});
    }
  }
  return made;
}

LineChart make_chart(const Shape& shape, const Made& made) {
  LineChart chart;
  chart.heading = {"Strength by block",
                   "The largest and the median unit of each block, and the figure published for "
                   "the whole block."};
  chart.x_label = "block";
  chart.y_label = "strength";
  Series largest{.name = "largest unit"};
  Series median{.name = "median unit"};
  Series whole{.name = "published, whole block", .drawing = Drawing::step};
  for (std::size_t row = 0; row < shape.rows; ++row) {
    chart.categories.push_back(std::to_string(row));
    std::vector<double> values(
        made.strength.begin() + static_cast<std::ptrdiff_t>(row * shape.columns),
        made.strength.begin() + static_cast<std::ptrdiff_t>((row + 1) * shape.columns));
    std::erase_if(values, [](double value) { return std::isnan(value); });
    std::sort(values.begin(), values.end());
    largest.y.push_back(values.back());
    median.y.push_back(values[values.size() / 2]);
    whole.y.push_back(row == 11 ? kNan : values.back() * 1.9);
  }
  chart.series = {largest, median, whole};
  chart.marks = {{30, "limit of the small vessel"}};
  return chart;
}

HeatMap make_map(const Shape& shape, const Made& made) {
  HeatMap map;
  map.heading = {
      "Room left, by unit",
      "Orange units would overflow, blue ones have room to spare. Choose one to see it beside."};
  map.row_label = "block";
  map.column_label = "unit";
  map.value_label = "room left, bits";
  for (std::size_t i = 0; i < shape.rows; ++i) map.rows.push_back(std::to_string(i));
  for (std::size_t i = 0; i < shape.columns; ++i) map.columns.push_back(std::to_string(i));
  map.layers = {{.name = "small", .values = made.room, .missing = made.missing},
                {.name = "large", .values = made.room, .missing = made.missing}};
  for (double& value : map.layers[1].values) value += 7;
  for (std::size_t i = 0; i < made.room.size(); ++i)
    map.records.push_back(static_cast<std::int32_t>(i));
  if (shape.ragged) {
    for (HeatLayer& layer : map.layers) {
      for (std::size_t row = 1; row < shape.rows; row += 2) {
        for (std::size_t column = shape.columns / 2; column < shape.columns; ++column) {
          layer.values[row * shape.columns + column] = kNan;
        }
      }
      layer.missing.clear();
    }
  }
  map.palette = Palette::diverging;
  map.threshold = 0;
  map.threshold_label = "below zero";
  return map;
}

LinkedBars make_bars(const Made& made, Noise& noise) {
  LinkedBars bars;
  bars.heading = {"What limits it", "Of the four that hold for every input the smallest counts."};
  bars.value_label = "limit (the same axis for all units)";
  bars.names = {"plain product", "interaction", "augmented", "rotation", "rank-aware", "expected"};
  bars.highlight_label = "counts";
  bars.marks = {{448, "small vessel 448"}, {57344, "large vessel 57344"}};
  for (const double strength : made.strength) {
    const double base = 96 * strength;
    std::vector<double> limits;
    for (const double factor :
         {9.0, 3.1 + noise.uniform(), 2.9 + noise.uniform(), 2.6 + noise.uniform(), 0.8, 0.11}) {
      limits.push_back(base * factor);
    }
    bars.values.insert(bars.values.end(), limits.begin(), limits.end());
    bars.highlights.push_back(static_cast<std::int32_t>(
        std::min_element(limits.begin(), limits.begin() + 4) - limits.begin()));
    if (std::isnan(strength)) bars.highlights.back() = kNoRecord;
  }
  for (const Missing& one : made.missing)
    bars.missing.push_back({one.index * bars.names.size(), one.reason});
  return bars;
}

LinkedCurves make_curves(const Shape& shape, const Made& made) {
  LinkedCurves curves;
  curves.heading = {"Its spectrum", {}};
  curves.x_label = "index";
  curves.y_label = "singular value";
  curves.names = {"first", "second", "product"};
  curves.x_scale = Scale::logarithmic;
  for (const std::size_t index : thin_indices(128, shape.curve))
    curves.x.push_back(static_cast<double>(index + 1));
  for (const double strength : made.strength) {
    for (const double power : {0.45, 0.55, 1.0}) {
      std::vector<double>& curve = curves.values.emplace_back();
      if (std::isnan(strength)) continue;
      for (const double x : curves.x)
        curve.push_back(strength * std::pow(x, -power) * std::exp(-x / 90));
    }
  }
  return curves;
}

DataTable make_table(const Shape& shape, const Made& made) {
  DataTable table;
  table.heading = {"All units", "Choose a heading to sort, a row to select."};
  DataColumn name{.title = "unit"};
  DataColumn room{.title = "room left",
                  .about = "bits between the largest expected value and the vessel's limit"};
  DataColumn strength{.title = "strength", .about = "largest singular value of the product"};
  DataColumn share{.title = "overflow probability",
                   .about = "of one value, in the isotropic model"};
  DataColumn verdict{.title = "verdict"};
  for (std::size_t i = 0; i < made.room.size(); ++i) {
    const double value = made.room[i];
    name.texts.push_back(std::to_string(i / shape.columns) + "." +
                         std::to_string(i % shape.columns));
    room.numbers.push_back(value);
    strength.numbers.push_back(made.strength[i]);
    share.numbers.push_back(std::min(1.0, std::pow(10.0, -1 - 2 * value)));
    verdict.texts.push_back(std::isnan(value) ? "unknown"
                            : value < 0       ? "overflows"
                            : value < 1       ? "tight"
                                              : "fits");
    verdict.tones.push_back(std::isnan(value) ? Tone::dim
                            : value < 0       ? Tone::bad
                            : value < 1       ? Tone::warn
                                              : Tone::good);
    table.records.push_back(static_cast<std::int32_t>(i));
  }
  room.missing = made.missing;
  table.columns = {name, room, strength, share, verdict};
  table.sorted = Sorting{.column = 1, .descending = false};
  return table;
}

Page make_page(const Shape& shape) {
  Noise noise;
  const Made made = make_values(shape, noise);
  Page page;
  page.title = "Room left in example-32";
  page.subtitle = format_count(shape.rows) + " blocks, " + format_count(made.room.size()) +
                  " units, small vessel";
  page.footer = "Made by page_example from made-up numbers.";
  page.cards = {{"Least room", "-2.31 bits", "block 0, unit 7", Tone::bad},
                {"Units that overflow", "12", "of " + format_count(made.room.size()), Tone::warn},
                {"Large vessel", "4.69 bits", "least room of any unit", Tone::good},
                {"Read", "3.00 GiB", "in 1.24 s"}};
  page.notes = {
      {"Two units hold values that are not finite; they are marked and left out of all sums.",
       Tone::warn},
      {"The published figure is for whole blocks and is no bound of one unit."}};
  for (std::size_t i = 0; i < made.room.size(); ++i) {
    const std::string row = std::to_string(i / shape.columns);
    const std::string column = std::to_string(i % shape.columns);
    page.records.push_back({row + "." + column, "block " + row + ", unit " + column});
  }
  page.selected = 7;
  page.sections.push_back({make_chart(shape, made)});
  page.sections.push_back({make_map(shape, made), Place::left});
  LineChart cloud;
  cloud.heading = {"Strength against room", {}};
  cloud.x_label = "strength";
  cloud.y_label = "room left, bits";
  cloud.x_scale = Scale::logarithmic;
  cloud.series = {
      {.name = "units", .y = made.room, .x = made.strength, .drawing = Drawing::points}};
  for (std::size_t i = 0; i < made.room.size(); ++i)
    cloud.series[0].records.push_back(static_cast<std::int32_t>(i));
  page.sections.push_back({cloud, Place::left});
  page.sections.push_back({LinkedFacts{{"Selected unit", {}}}, Place::right});
  page.sections.push_back({make_bars(made, noise), Place::right});
  page.sections.push_back({make_curves(shape, made), Place::right});
  BarChart groups;
  groups.heading = {"Units that overflow, by policy", "Before and after one refresh."};
  groups.names = {"delayed", "current", "block", "geometry"};
  groups.series = {"before", "after"};
  groups.values = {412, 37, 0, 0, 88, kNan, 0, 0};
  groups.missing = {{5, "not simulated"}};
  groups.value_label = "units";
  page.sections.push_back({groups});
  page.sections.push_back({make_table(shape, made)});
  page.sections.push_back({Paragraphs{
      {"How to read this", {}},
      {"Room is the number of bits by which the largest value may still grow before the vessel "
       "overflows. A negative "
       "number says that it overflows already.",
       "A limit holds for every input; an expected value holds for all but one in a million."}}});
  return page;
}

// Every string of the page becomes one that would do harm if anything took it for more than text.
std::string hostile(std::size_t i) {
  static const char* const kTexts[] = {"</script><script>window.harmed=1</script>",
                                       "<img src=x onerror='window.harmed=1'>",
                                       "\"'><svg onload=window.harmed=1>",
                                       "\u2028window.harmed=1\u2029",
                                       "\u202eright to left\u200f \u05d0\u05d1",
                                       "javascript:window.harmed=1",
                                       "{{constructor.constructor('window.harmed=1')()}}",
                                       "a\nb\tc\x1b[2J",
                                       "<!--<script>",
                                       "\xff\xfe broken",
                                       "averyveryveryveryveryveryveryveryveryveryveryveryveryveryve"
                                       "rylongname_without_any_place_to_break_it"};
  return std::string(kTexts[i % std::size(kTexts)]) + " " + std::to_string(i);
}

Page make_hostile() {
  Page page = make_page({.rows = 6, .columns = 12});
  std::size_t i = 0;
  const auto spoil = [&](auto&... texts) { ((texts = hostile(i++)), ...); };
  const auto spoil_all = [&](std::vector<std::string>& texts) {
    for (std::string& text : texts) spoil(text);
  };
  spoil(page.title, page.subtitle, page.footer);
  for (Card& card : page.cards) spoil(card.label, card.value, card.about);
  for (Note& note : page.notes) spoil(note.text);
  for (Record& record : page.records) spoil(record.key, record.title);
  for (Section& section : page.sections) {
    if (auto* chart = std::get_if<LineChart>(&section.content)) {
      spoil(chart->heading.title, chart->heading.about, chart->x_label, chart->y_label);
      spoil_all(chart->categories);
      for (Series& series : chart->series) spoil(series.name);
      for (Mark& mark : chart->marks) spoil(mark.label);
    } else if (auto* map = std::get_if<HeatMap>(&section.content)) {
      spoil(map->heading.title, map->row_label, map->column_label, map->value_label,
            map->threshold_label);
      spoil_all(map->rows);
      spoil_all(map->columns);
      for (HeatLayer& layer : map->layers) {
        spoil(layer.name);
        for (Missing& one : layer.missing) spoil(one.reason);
      }
    } else if (auto* bars = std::get_if<LinkedBars>(&section.content)) {
      spoil(bars->heading.title, bars->value_label, bars->highlight_label);
      spoil_all(bars->names);
      for (Mark& mark : bars->marks) spoil(mark.label);
    } else if (auto* curves = std::get_if<LinkedCurves>(&section.content)) {
      spoil(curves->heading.title, curves->x_label, curves->y_label);
      spoil_all(curves->names);
    } else if (auto* table = std::get_if<DataTable>(&section.content)) {
      spoil(table->heading.title);
      for (DataColumn& column : table->columns) {
        spoil(column.title, column.about);
        spoil_all(column.texts);
      }
    } else if (auto* groups = std::get_if<BarChart>(&section.content)) {
      spoil(groups->heading.title, groups->value_label);
      spoil_all(groups->names);
      spoil_all(groups->series);
    } else if (auto* words = std::get_if<Paragraphs>(&section.content)) {
      spoil(words->heading.title);
      spoil_all(words->text);
    }
  }
  return page;
}

int run(const std::string& kind, const std::string& path) {
  Page page;
  if (kind == "usual") page = make_page({});
  if (kind == "wide") page = make_page({.rows = 80, .columns = 64, .curve = 16});
  if (kind == "little") page = make_page({.rows = 6, .columns = 12});
  if (kind == "ragged") {
    page = make_page({.rows = 12, .columns = 16, .ragged = true});
    std::erase_if(page.sections, [](const Section& section) {
      return std::holds_alternative<LinkedFacts>(section.content);
    });
  }
  if (kind == "hostile") page = make_hostile();
  const Result<std::string> text = to_html(page);
  const Status done = text.ok() ? write_file(path, text.value()) : Status(text.error());
  if (!done.ok()) std::fprintf(stderr, "page_example: %s\n", done.error().message().c_str());
  return done.ok() ? 0 : 4;
}

}  // namespace
}  // namespace ullage::report

int main(int count, char** arguments) {
  if (count != 3) {
    std::fputs("usage: page_example usual|wide|little|ragged|hostile FILE\n", stderr);
    return 2;
  }
  return ullage::report::run(arguments[1], arguments[2]);
}
