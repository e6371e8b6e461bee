#include "ullage/report/csv.h"

#include <utility>

#include "ullage/base/text.h"
#include "ullage/report/numbers.h"

namespace ullage::report {
namespace {

constexpr std::size_t kLongestText = 1000;  // code points; no name that means something is longer

}  // namespace

void CsvWriter::put(std::string_view field) {
  if (row_begun_) out_ += ',';
  row_begun_ = true;
  out_ += field;
}

CsvWriter& CsvWriter::text(std::string_view text) {
  std::string cell = escape_text(text, kLongestText);
  if (!cell.empty() && std::string_view("=+-@").find(cell[0]) != std::string_view::npos)
    cell.insert(0, 1, '\'');
  if (cell.find_first_of(",\"") == std::string::npos) {
    put(cell);
    return *this;
  }
  std::string quoted = "\"";
  for (const char c : cell) quoted.append(c == '"' ? 2 : 1, c);
  quoted += '"';
  put(quoted);
  return *this;
}

CsvWriter& CsvWriter::number(double value) {
  put(format_shortest(value));
  return *this;
}

CsvWriter& CsvWriter::number(float value) {
  put(format_shortest(value));
  return *this;
}

CsvWriter& CsvWriter::integer(std::int64_t value) {
  put(std::to_string(value));
  return *this;
}

CsvWriter& CsvWriter::missing() {
  put({});
  return *this;
}

CsvWriter& CsvWriter::end_row() {
  out_ += "\r\n";
  row_begun_ = false;
  return *this;
}

std::string CsvWriter::take() { return std::exchange(out_, {}); }

}  // namespace ullage::report
