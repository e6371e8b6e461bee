// Tables of text cells, for a terminal.
//
//   Table table;
//   table.columns = {{.title = "part", .align = Align::right}, {.title = "name", .shrinks_to = 12}};
//   table.rows.push_back({{"0"}, {"first", Tone::good}});
//   std::string text = to_text(table, terminal_of(STDOUT_FILENO));
//
// Numbers come in as text (numbers.h formats them). All text is untrusted: it is escaped here, so
// pass it raw.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "ullage/report/terminal.h"
#include "ullage/report/tone.h"

namespace ullage::report {

enum class Align : std::uint8_t { left, right };

struct Column {
  std::string title = {};
  Align align = Align::left;
  std::size_t widest = 60;  // longer cells are cut to this many columns
  // On a narrow terminal the column may be cut down to this; 0: never narrower.
  std::size_t shrinks_to = 0;
};

struct Cell {
  std::string text = {};
  Tone tone = Tone::plain;
};

struct Table {
  std::vector<Column> columns = {};
  // A short row is filled with empty cells; cells beyond the columns are dropped.
  std::vector<std::vector<Cell>> rows;
  std::vector<std::size_t> rules = {};  // a rule is drawn above each of these rows
};

// Lines end in '\n'; no line ends in blanks. Empty when there are no columns.
std::string to_text(const Table& table, const Terminal& terminal);

}  // namespace ullage::report
