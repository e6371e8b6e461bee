// Sizes that must fit one another before a page is written.

#include <cstddef>
#include <set>
#include <string>
#include <vector>

#include "report/page_data.h"

namespace ullage::report {
namespace {

class Checker {
 public:
  explicit Checker(const Page& page) : page_(page) {}

  Status operator()(const Paragraphs& /*section*/) const { return {}; }

  Status operator()(const LineChart& chart) const {
    for (const Series& series : chart.series) {
      const std::string what = "points of " + series.name;
      if (!series.x.empty()) ULLAGE_TRY(same(what, series.x.size(), series.y.size()));
      if (series.x.empty() && !chart.x.empty())
        ULLAGE_TRY(same(what, chart.x.size(), series.y.size()));
      ULLAGE_TRY(records(series.records, series.y.size()));
    }
    return {};
  }

  Status operator()(const HeatMap& map) const {
    const std::size_t cells = map.rows.size() * map.columns.size();
    if (map.layers.empty() || cells == 0)
      return wrong("layers, rows and columns", "at least one of each", "none");
    for (const HeatLayer& layer : map.layers) {
      ULLAGE_TRY(same("cells of " + layer.name, cells, layer.values.size()));
      ULLAGE_TRY(missing(layer.missing, cells));
    }
    return records(map.records, cells);
  }

  Status operator()(const BarChart& chart) const {
    ULLAGE_TRY(same("bars", chart.names.size() * chart.series.size(), chart.values.size()));
    return missing(chart.missing, chart.values.size());
  }

  Status operator()(const LinkedBars& bars) const {
    ULLAGE_TRY(same("bars", page_.records.size() * bars.names.size(), bars.values.size()));
    ULLAGE_TRY(missing(bars.missing, bars.values.size()));
    if (bars.highlights.empty()) return {};
    ULLAGE_TRY(same("highlights", page_.records.size(), bars.highlights.size()));
    return indices("highlight", bars.highlights, bars.names.size());
  }

  Status operator()(const LinkedCurves& curves) const {
    ULLAGE_TRY(same("curves", page_.records.size() * curves.names.size(), curves.values.size()));
    if (curves.x.empty()) return {};
    for (const std::vector<double>& curve : curves.values) {
      if (curve.size() > curves.x.size()) {
        return wrong("points of a curve", "at most " + std::to_string(curves.x.size()),
                     std::to_string(curve.size()));
      }
    }
    return {};
  }

  Status operator()(const LinkedFacts& /*section*/) const { return {}; }

  Status operator()(const DataTable& table) const {
    if (table.columns.empty()) return wrong("columns", "at least one", "none");
    const auto length = [](const DataColumn& column) {
      return column.numbers.size() + column.texts.size();
    };
    const std::size_t rows = length(table.columns[0]);
    for (const DataColumn& column : table.columns) {
      if (!column.numbers.empty() && !column.texts.empty()) {
        return wrong("column " + column.title, "numbers or texts", "both");
      }
      ULLAGE_TRY(same("rows of " + column.title, rows, length(column)));
      if (!column.tones.empty())
        ULLAGE_TRY(same("tones of " + column.title, rows, column.tones.size()));
      ULLAGE_TRY(missing(column.missing, rows));
    }
    if (table.sorted && table.sorted->column >= table.columns.size()) {
      return wrong("sorted column", "below " + std::to_string(table.columns.size()),
                   std::to_string(table.sorted->column));
    }
    return records(table.records, rows);
  }

  Status records(const std::vector<std::int32_t>& list, std::size_t count) const {
    if (list.empty()) return {};
    ULLAGE_TRY(same("records", count, list.size()));
    return indices("record", list, page_.records.size());
  }

  Status keys() const {
    std::set<std::string> seen;
    for (const Record& record : page_.records) {
      if (!seen.insert(record.key).second) return wrong("record key", "each once", record.key);
    }
    return indices("selected record", {page_.selected}, page_.records.size());
  }

  const Heading* heading = nullptr;

 private:
  Error wrong(const std::string& what, std::string expected, std::string found) const {
    return {Code::value_invalid, "a page's " + what + " does not fit the rest",
            heading == nullptr ? page_.title : heading->title, std::move(expected),
            std::move(found)};
  }
  Status same(const std::string& what, std::size_t expected, std::size_t found) const {
    if (expected == found) return {};
    return wrong("number of " + what, std::to_string(expected), std::to_string(found));
  }
  Status missing(const std::vector<Missing>& list, std::size_t count) const {
    for (const Missing& one : list) {
      if (one.index >= count) {
        return wrong("index of a missing value", "below " + std::to_string(count),
                     std::to_string(one.index));
      }
    }
    return {};
  }
  Status indices(const std::string& what, const std::vector<std::int32_t>& list,
                 std::size_t count) const {
    for (const std::int32_t index : list) {
      if (index < kNoRecord || (index >= 0 && static_cast<std::size_t>(index) >= count)) {
        return wrong(what, "-1 to " + std::to_string(count) + " exclusive", std::to_string(index));
      }
    }
    return {};
  }

  const Page& page_;
};

}  // namespace

Status check_page(const Page& page) {
  Checker checker(page);
  ULLAGE_TRY(checker.keys());
  for (const Section& section : page.sections) {
    checker.heading = &heading_of(section);
    ULLAGE_TRY(std::visit(checker, section.content));
  }
  return {};
}

}  // namespace ullage::report
