// One self-contained HTML page from plain data: cards, notes, charts, heat maps, tables.
//
// The page works offline and asks for nothing from anywhere: style, script and data are inside it,
// and its content security policy allows only that one script. All text is untrusted: pass it raw.
//
// What a page is about (its "records": one for each cell of a heat map, say) can be selected: by a
// cell of a heat map, a point of a chart, a row of a table, or the address ("report.html#KEY"). The
// linked sections show the selected record. Sections name records by their index in Page::records;
// kNoRecord stands for none.
//
// NaN is a missing value everywhere. Where a reason is given it is shown; a heat map draws no cell
// at all for a missing value without a reason (a row that is shorter than others).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "ullage/base/result.h"
#include "ullage/report/tone.h"

namespace ullage::report {

inline constexpr std::int32_t kNoRecord = -1;

struct Record {
  std::string key = {};    // short and unique: "3.7"
  std::string title = {};  // "row 3, cell 7"
};

struct Heading {
  std::string title = {};
  std::string about = {};  // a sentence or two: what is shown and how to read it
};

struct Card {
  std::string label = {};
  std::string value = {};  // short: a number with its unit, or a word
  std::string about = {};
  Tone tone = Tone::plain;  // good, warn and bad also show a mark and a word
};

struct Note {
  std::string text = {};
  Tone tone = Tone::plain;
};

struct Missing {
  std::size_t index = 0;  // into the values it belongs to
  std::string reason = {};
};

struct Mark {  // a reference line across a chart
  double value = 0;
  std::string label = {};
};

enum class Scale : std::uint8_t { linear, logarithmic };  // the first shown; the reader can switch
enum class Drawing : std::uint8_t { line, step, points };

struct Paragraphs {
  Heading heading = {};
  std::vector<std::string> text = {};
};

struct Series {
  std::string name = {};
  std::vector<double> y = {};
  std::vector<double> x = {};  // empty: the chart's x
  Drawing drawing = Drawing::line;
  std::vector<std::int32_t> records = {};  // empty, or the record that each point selects
};

struct LineChart {
  Heading heading = {};
  std::string x_label = {};
  std::string y_label = {};
  std::vector<std::string> categories = {};  // names of x = 0, 1, 2, ...; empty: a numeric axis
  std::vector<double> x = {};  // shared by the series without their own; empty: 0, 1, 2, ...
  std::vector<Series> series = {};
  std::vector<Mark> marks = {};
  Scale x_scale = Scale::linear;
  Scale y_scale = Scale::linear;
};

enum class Palette : std::uint8_t {
  sequential,  // from low to high
  diverging,   // around HeatMap::centre: below it and above it are two hues
};
enum class Side : std::uint8_t { below, above };

struct HeatLayer {  // one set of values; a map with several gets a switch
  std::string name = {};
  std::vector<double> values = {};  // row-major, rows x columns
  std::vector<Missing> missing = {};
};

struct HeatMap {
  Heading heading = {};
  std::string row_label = {};     // "row"
  std::string column_label = {};  // "cell"
  std::string value_label = {};   // "room left, bits"
  std::vector<std::string> rows = {};
  std::vector<std::string> columns = {};
  std::vector<HeatLayer> layers = {};
  std::vector<std::int32_t> records = {};  // empty, or the record of each cell, row-major
  Palette palette = Palette::sequential;
  double centre = 0;
  std::optional<double> threshold = {};  // cells beyond it carry a mark
  Side threshold_side = Side::below;
  std::string threshold_label = {};  // "below 1 bit"
  int digits = 3;                    // significant, in what is read out
};

// Horizontal bars: one group a name, one bar a series in it.
struct BarChart {
  Heading heading = {};
  std::string value_label = {};
  std::vector<std::string> names = {};
  std::vector<std::string> series = {};  // one: plain bars
  std::vector<double> values = {};       // names x series
  std::vector<Missing> missing = {};
  std::vector<Mark> marks = {};
  Scale scale = Scale::linear;
};

// The same for the selected record, one series. Without LinkedFacts on the page its title stands
// above.
struct LinkedBars {
  Heading heading = {};
  std::string value_label = {};
  std::vector<std::string> names = {};
  std::vector<double> values = {};  // records x names
  std::vector<Missing> missing = {};
  // Empty, or for each record the name whose bar is marked (kNoRecord: none).
  std::vector<std::int32_t> highlights;
  std::string highlight_label = {};  // "binds"
  std::vector<Mark> marks = {};
  Scale scale = Scale::logarithmic;
};

// Curves of the selected record, e.g. spectra. Lengths may differ from record to record.
struct LinkedCurves {
  Heading heading = {};
  std::string x_label = {};
  std::string y_label = {};
  std::vector<std::string> names = {};
  std::vector<double> x = {};                    // empty: 1, 2, 3, ...; else as long as the longest
  std::vector<std::vector<double>> values = {};  // [record * names.size() + name]
  Scale x_scale = Scale::linear;
  Scale y_scale = Scale::logarithmic;
};

// The selected record's title, a way to step through the records, and its row of the first table
// that has records.
struct LinkedFacts {
  Heading heading = {};
};

struct DataColumn {
  std::string title = {};
  std::string about = {};               // shown as a hint on the header
  std::vector<double> numbers = {};     // either these ...
  std::vector<std::string> texts = {};  // ... or these
  std::vector<Missing> missing = {};    // reasons for missing numbers, by row
  std::vector<Tone> tones = {};         // empty, or one a row; good, warn and bad also show a mark
  int digits = 3;                       // significant
  bool above = false;                   // bounds: never shown below what they are
};

struct Sorting {
  std::size_t column = 0;
  bool descending = false;
};

struct DataTable {
  Heading heading = {};
  std::vector<DataColumn> columns = {};
  std::vector<std::int32_t> records = {};  // empty, or the record of each row
  std::optional<Sorting> sorted = {};      // else in the order given
};

// Where a section stands on a wide screen. Neighbours in left and right share a block of two
// columns, each column in the order given; on a narrow screen all follow one another in the order
// given.
enum class Place : std::uint8_t { full, left, right };

struct Section {
  std::variant<Paragraphs, LineChart, HeatMap, BarChart, LinkedBars, LinkedCurves, LinkedFacts,
               DataTable>
      content;
  Place place = Place::full;
};

struct Page {
  std::string title = {};
  std::string subtitle = {};
  std::string footer = {};
  std::vector<Card> cards = {};
  std::vector<Note> notes = {};
  std::vector<Record> records = {};
  std::int32_t selected = kNoRecord;
  std::vector<Section> sections = {};
};

// The whole file. Numbers are kept to six significant digits. value_invalid, naming the section,
// when sizes do not fit one another. The same page gives the same bytes.
Result<std::string> to_html(const Page& page);

// At most `most` of the indices 0 ... count - 1, ascending, first and last among them, dense at the
// start and evenly spread on a logarithmic axis after it: enough points to draw a long spectrum.
std::vector<std::size_t> thin_indices(std::size_t count, std::size_t most);

}  // namespace ullage::report
