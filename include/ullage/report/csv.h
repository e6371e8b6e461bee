// CSV as in RFC 4180, for spreadsheets and pandas alike.
//
//   CsvWriter csv;
//   csv.text("part").text("sigma").end_row();
//   csv.integer(0).number(3.1).end_row();
//   file.write(csv.take());
//
// Text is untrusted: controls and direction marks are escaped (so a cell is always one line), and
// text that a spreadsheet would run as a formula (= + - @ first) gets a leading apostrophe. Numbers
// never do.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace ullage::report {

class CsvWriter {
 public:
  CsvWriter& text(std::string_view text);
  CsvWriter& number(double value);  // shortest text that reads back the same; "inf", "-inf", "nan"
  CsvWriter& number(float value);
  CsvWriter& integer(std::int64_t value);
  CsvWriter& missing();  // an empty cell
  CsvWriter& end_row();

  // What was written since the last take(); rows may be streamed out piece by piece.
  std::string take();

 private:
  void put(std::string_view field);

  bool row_begun_ = false;
  std::string out_;
};

}  // namespace ullage::report
