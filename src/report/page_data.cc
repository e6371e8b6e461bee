#include "report/page_data.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>

#include "ullage/base/text.h"
#include "ullage/report/json.h"
#include "ullage/report/numbers.h"

namespace ullage::report {
namespace {

// Enough for any read-out of four digits, and half the bytes of a double's seventeen.
constexpr int kDigitsKept = 6;
constexpr std::size_t kLongestText = 4000;

const char* name_of(Scale scale) { return scale == Scale::linear ? "linear" : "logarithmic"; }

const char* name_of(Drawing drawing) {
  switch (drawing) {
    case Drawing::line:
      return "line";
    case Drawing::step:
      return "step";
    case Drawing::points:
      return "points";
  }
  return "line";
}

class Encoder {
 public:
  explicit Encoder(JsonWriter& json) : json_(json) {}

  bool operator()(const Paragraphs& /*section*/) { return false; }

  bool operator()(const LineChart& chart) {
    begin("line", chart.heading);
    text("x_label", chart.x_label);
    text("y_label", chart.y_label);
    texts("categories", chart.categories);
    if (!chart.x.empty()) numbers("x", chart.x);
    json_.key("series").begin_array();
    for (const Series& series : chart.series) {
      json_.begin_object();
      text("name", series.name);
      json_.key("drawing").text(name_of(series.drawing));
      numbers("y", series.y);
      if (!series.x.empty()) numbers("x", series.x);
      if (!series.records.empty()) indices("records", series.records);
      json_.end();
    }
    json_.end();
    marks(chart.marks);
    json_.key("x_scale").text(name_of(chart.x_scale));
    json_.key("y_scale").text(name_of(chart.y_scale));
    return true;
  }

  bool operator()(const HeatMap& map) {
    begin("heat", map.heading);
    text("row_label", map.row_label);
    text("column_label", map.column_label);
    text("value_label", map.value_label);
    texts("rows", map.rows);
    texts("columns", map.columns);
    json_.key("layers").begin_array();
    for (const HeatLayer& layer : map.layers) {
      json_.begin_object();
      text("name", layer.name);
      numbers("values", layer.values);
      missing(layer.missing, layer.values);
      json_.end();
    }
    json_.end();
    if (!map.records.empty()) indices("records", map.records);
    json_.key("palette").text(map.palette == Palette::diverging ? "diverging" : "sequential");
    json_.key("centre").number(map.centre);
    json_.key("threshold");
    map.threshold ? json_.number(*map.threshold) : json_.null();
    json_.key("side").text(map.threshold_side == Side::below ? "below" : "above");
    text("threshold_label", map.threshold_label);
    json_.key("digits").integer(digits(map.digits));
    return true;
  }

  bool operator()(const BarChart& chart) {
    begin("bars", chart.heading);
    bars(chart.value_label, chart.names, chart.values, chart.missing, chart.marks, chart.scale);
    texts("series", chart.series);
    return true;
  }

  bool operator()(const LinkedBars& linked) {
    begin("linked_bars", linked.heading);
    bars(linked.value_label, linked.names, linked.values, linked.missing, linked.marks,
         linked.scale);
    if (!linked.highlights.empty()) indices("highlights", linked.highlights);
    text("highlight_label", linked.highlight_label);
    return true;
  }

  bool operator()(const LinkedCurves& curves) {
    begin("linked_curves", curves.heading);
    text("x_label", curves.x_label);
    text("y_label", curves.y_label);
    texts("names", curves.names);
    if (!curves.x.empty()) numbers("x", curves.x);
    json_.key("values").begin_array();
    for (const std::vector<double>& curve : curves.values) numbers(curve);
    json_.end();
    json_.key("x_scale").text(name_of(curves.x_scale));
    json_.key("y_scale").text(name_of(curves.y_scale));
    return true;
  }

  bool operator()(const LinkedFacts& facts) {
    begin("facts", facts.heading);
    return true;
  }

  bool operator()(const DataTable& table) {
    begin("table", table.heading);
    json_.key("columns").begin_array();
    for (const DataColumn& column : table.columns) {
      json_.begin_object();
      text("title", column.title);
      text("about", column.about);
      if (!column.texts.empty()) {
        texts("texts", column.texts);
      } else if (column.above) {
        numbers("numbers", not_below(column.numbers));
        json_.key("above").boolean(true);
      } else {
        numbers("numbers", column.numbers);
      }
      missing(column.missing, column.numbers);
      if (!column.tones.empty()) {
        std::string tones;  // one digit a row
        for (const Tone tone : column.tones)
          tones += static_cast<char>('0' + static_cast<int>(tone));
        json_.key("tones").text(tones);
      }
      json_.key("digits").integer(digits(column.digits));
      json_.end();
    }
    json_.end();
    if (!table.records.empty()) indices("records", table.records);
    json_.key("sorted");
    if (table.sorted) {
      json_.begin_object();
      json_.key("column")
          .natural(table.sorted->column)
          .key("descending")
          .boolean(table.sorted->descending);
      json_.end();
    } else {
      json_.null();
    }
    return true;
  }

  std::size_t at = 0;

 private:
  // As many digits as are kept, rounded up.
  static std::vector<double> not_below(std::vector<double> values) {
    for (double& value : values) {
      const std::string above = format_above(value, kDigitsKept);
      if (std::isfinite(value)) std::from_chars(above.data(), above.data() + above.size(), value);
    }
    return values;
  }
  static int digits(int wanted) { return std::clamp(wanted, 1, kDigitsKept); }

  void begin(const char* kind, const Heading& heading) {
    json_.begin_object();
    json_.key("kind").text(kind);
    json_.key("at").natural(at);
    text("title", heading.title);
  }
  void text(const char* key, const std::string& value) { json_.key(key).text(page_text(value)); }
  void texts(const char* key, const std::vector<std::string>& values) {
    json_.key(key).begin_array();
    for (const std::string& value : values) json_.text(page_text(value));
    json_.end();
  }
  void numbers(const char* key, const std::vector<double>& values) {
    json_.key(key);
    numbers(values);
  }
  void numbers(const std::vector<double>& values) {
    json_.begin_array();
    for (const double value : values) {
      std::isinf(value) ? json_.text(value > 0 ? "inf" : "-inf")
                        : json_.number(round_to_digits(value, kDigitsKept));
    }
    json_.end();
  }
  void indices(const char* key, const std::vector<std::int32_t>& values) {
    json_.key(key).begin_array();
    for (const std::int32_t value : values) json_.integer(value);
    json_.end();
  }
  void marks(const std::vector<Mark>& list) {
    json_.key("marks").begin_array();
    for (const Mark& mark : list) {
      json_.begin_object();
      json_.key("value").number(mark.value);
      text("label", mark.label);
      json_.end();
    }
    json_.end();
  }
  // [[reason, [index, ...]], ...]; an infinite value without a reason of its own says that it is
  // infinite.
  void missing(const std::vector<Missing>& list, const std::vector<double>& values) {
    std::map<std::string, std::vector<std::size_t>> groups;
    std::vector<bool> explained(values.size());
    for (const Missing& one : list) {
      groups[one.reason].push_back(one.index);
      if (one.index < explained.size()) explained[one.index] = true;
    }
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (std::isinf(values[i]) && !explained[i]) groups["infinite"].push_back(i);
    }
    json_.key("missing").begin_array();
    for (const auto& [reason, cells] : groups) {
      json_.begin_array().text(page_text(reason)).begin_array();
      for (const std::size_t cell : cells) json_.natural(cell);
      json_.end().end();
    }
    json_.end();
  }
  void bars(const std::string& label, const std::vector<std::string>& names,
            const std::vector<double>& values, const std::vector<Missing>& reasons,
            const std::vector<Mark>& lines, Scale scale) {
    text("value_label", label);
    texts("names", names);
    numbers("values", values);
    missing(reasons, values);
    marks(lines);
    json_.key("scale").text(name_of(scale));
  }

  JsonWriter& json_;
};

}  // namespace

std::string page_text(std::string_view text) { return escape_text(text, kLongestText); }

const Heading& heading_of(const Section& section) {
  return std::visit([](const auto& content) -> const Heading& { return content.heading; },
                    section.content);
}

std::string page_data(const Page& page) {
  JsonWriter json({.indent = 0, .html = true});
  json.begin_object();
  json.key("records").begin_array();
  for (const Record& record : page.records) {
    json.begin_array().text(page_text(record.key)).text(page_text(record.title)).end();
  }
  json.end();
  json.key("selected").integer(page.selected);
  json.key("sections").begin_array();
  Encoder encoder(json);
  for (std::size_t i = 0; i < page.sections.size(); ++i) {
    encoder.at = i;
    if (std::visit(encoder, page.sections[i].content)) json.end();
  }
  json.end();
  json.end();
  return json.take();
}

}  // namespace ullage::report
