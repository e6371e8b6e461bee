#include "ullage/report/table.h"

#include <algorithm>
#include <string_view>

#include "ullage/base/text.h"

namespace ullage::report {
namespace {

constexpr std::size_t kGap = 2;

// Escaped text, column by column.
struct Grid {
  std::vector<std::string> titles;
  std::vector<std::vector<std::string>> rows;
  std::vector<std::size_t> widths;
};

Grid measure(const Table& table, const Terminal& terminal) {
  Grid grid;
  for (const Column& column : table.columns) {
    grid.titles.push_back(terminal_text(column.title, terminal));
    grid.widths.push_back(display_width(grid.titles.back()));
  }
  for (const std::vector<Cell>& row : table.rows) {
    std::vector<std::string>& texts = grid.rows.emplace_back(table.columns.size());
    for (std::size_t c = 0; c < std::min(row.size(), texts.size()); ++c) {
      texts[c] = cut_to_width(terminal_text(row[c].text, terminal), table.columns[c].widest,
                              terminal.utf8);
      grid.widths[c] = std::max(grid.widths[c], display_width(texts[c]));
    }
  }
  return grid;
}

// Takes columns from the widest that may shrink, one at a time, until the table fits or none may.
void shrink(std::vector<std::size_t>& widths, const Table& table, std::size_t limit) {
  std::size_t total = kGap * (widths.size() - 1);
  for (const std::size_t width : widths) total += width;
  for (; total > limit; --total) {
    std::size_t* widest = nullptr;
    for (std::size_t c = 0; c < widths.size(); ++c) {
      const std::size_t least = table.columns[c].shrinks_to;
      if (least > 0 && widths[c] > least && (widest == nullptr || widths[c] > *widest))
        widest = &widths[c];
    }
    if (widest == nullptr) return;
    --*widest;
  }
}

// One line of cells. Blanks are written only before text, so that no line ends in them.
class Line {
 public:
  void put(const std::string& text, Align align, std::size_t width, Tone tone,
           const Terminal& terminal) {
    const std::size_t pad = width - std::min(width, display_width(text));
    if (align == Align::right) blanks_ += pad;
    if (!text.empty()) {
      line_.append(blanks_, ' ');
      blanks_ = 0;
      line_ += paint(text, tone, terminal);
    } else {
      blanks_ += width - pad;
    }
    if (align == Align::left) blanks_ += pad;
    blanks_ += kGap;
  }
  std::string take() && { return std::move(line_) + '\n'; }

 private:
  std::string line_;
  std::size_t blanks_ = 0;
};

std::string rule(const std::vector<std::size_t>& widths, const Terminal& terminal) {
  std::string line;
  for (std::size_t c = 0; c < widths.size(); ++c) {
    if (c > 0) line.append(kGap, ' ');
    for (std::size_t i = 0; i < widths[c]; ++i) line += terminal.utf8 ? "\u2500" : "-";
  }
  return paint(line, Tone::dim, terminal) + '\n';
}

}  // namespace

std::string to_text(const Table& table, const Terminal& terminal) {
  if (table.columns.empty()) return {};
  Grid grid = measure(table, terminal);
  if (terminal.width > 0) shrink(grid.widths, table, terminal.width);
  const auto put = [&](Line& line, std::size_t c, const std::string& text, Tone tone) {
    line.put(cut_to_width(text, grid.widths[c], terminal.utf8), table.columns[c].align,
             grid.widths[c], tone, terminal);
  };

  Line header;
  for (std::size_t c = 0; c < table.columns.size(); ++c)
    put(header, c, grid.titles[c], Tone::strong);
  std::string out = std::move(header).take() + rule(grid.widths, terminal);
  for (std::size_t r = 0; r < grid.rows.size(); ++r) {
    if (std::find(table.rules.begin(), table.rules.end(), r) != table.rules.end())
      out += rule(grid.widths, terminal);
    Line line;
    for (std::size_t c = 0; c < table.columns.size(); ++c) {
      put(line, c, grid.rows[r][c], c < table.rows[r].size() ? table.rows[r][c].tone : Tone::plain);
    }
    out += std::move(line).take();
  }
  return out;
}

}  // namespace ullage::report
