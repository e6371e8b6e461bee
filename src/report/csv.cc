#include "ullage/report/csv.h"

#include <utility>

#include "ullage/base/text.h"
#include "ullage/report/numbers.h"

namespace ullage::report {
namespace {

constexpr std::size_t kLongestText = 1000;  // code points; no name that means something is longer

// What a spreadsheet takes for one: these four and their full-width forms (U+FF1D, FF0B, FF0D, FF20).
bool is_formula(std::string_view cell) {
  for (const std::string_view start :
       {"=", "+", "-", "@", "\xef\xbc\x9d", "\xef\xbc\x8b", "\xef\xbc\x8d", "\xef\xbc\xa0"})
    if (cell.starts_with(start)) return true;
  return false;
}

}  // namespace

void CsvWriter::put(std::string_view field) {
  if (row_begun_) out_ += ',';
  row_begun_ = true;
  out_ += field;
}

CsvWriter& CsvWriter::text(std::string_view text) {
  std::string cell = escape_text(text, kLongestText);
  if (is_formula(cell)) cell.insert(0, 1, '\'');
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
