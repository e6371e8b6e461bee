// CSV read back by RFC 4180's grammar, with formulas and controls made harmless.
#include "ullage/report/csv.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <limits>
#include <vector>

#include "ullage/base/text.h"

namespace ullage::report {
namespace {

// RFC 4180 read by its grammar.
std::vector<std::vector<std::string>> parse(const std::string& text) {
  std::vector<std::vector<std::string>> rows;
  std::vector<std::string> row;
  std::string field;
  for (std::size_t at = 0; at < text.size();) {
    if (text[at] == '"') {
      for (++at; text.at(at) != '"' || (at + 1 < text.size() && text[at + 1] == '"'); ++at) {
        field += text[at];
        if (text[at] == '"') ++at;
      }
      ++at;
    } else if (text[at] == ',') {
      row.push_back(std::exchange(field, {}));
      ++at;
    } else if (text.compare(at, 2, "\r\n") == 0) {
      row.push_back(std::exchange(field, {}));
      rows.push_back(std::exchange(row, {}));
      at += 2;
    } else {
      field += text[at++];
    }
  }
  return rows;
}

TEST(Csv, WritesRows) {
  CsvWriter csv;
  csv.text("block").text("sigma, raw").text("say \"hi\"").end_row();
  csv.integer(0).number(3.1).missing().end_row();
  csv.missing().number(0.1f).integer(-5).end_row();
  EXPECT_EQ(csv.take(), "block,\"sigma, raw\",\"say \"\"hi\"\"\"\r\n0,3.1,\r\n,0.1,-5\r\n");
  EXPECT_EQ(csv.take(), "");
}

TEST(Csv, TextIsNoFormulaAndNumbersKeepTheirSign) {
  CsvWriter csv;
  csv.text("=1+1")
      .text("+x")
      .text("-x")
      .text("@SUM(A1)")
      .text("\t=1")
      .text("a=1")
      .number(-1.5)
      .end_row();
  EXPECT_EQ(csv.take(), "'=1+1,'+x,'-x,'@SUM(A1),\\u0009=1,a=1,-1.5\r\n");
}

TEST(Csv, SpellsNonFiniteNumbers) {
  CsvWriter csv;
  const double infinity = std::numeric_limits<double>::infinity();
  csv.number(infinity).number(-infinity).number(std::numeric_limits<double>::quiet_NaN()).end_row();
  EXPECT_EQ(csv.take(), "inf,-inf,nan\r\n");
}

RC_GTEST_PROP(Csv, AnyTextComesBackEscapedInItsOwnCell, (const std::vector<std::string>& texts)) {
  RC_PRE(!texts.empty());
  CsvWriter csv;
  for (const std::string& text : texts) csv.text(text);
  csv.end_row();
  const auto rows = parse(csv.take());
  RC_ASSERT(rows.size() == 1u);
  RC_ASSERT(rows[0].size() == texts.size());
  for (std::size_t i = 0; i < texts.size(); ++i) {
    const std::string expected = escape_text(texts[i], 1000);
    RC_ASSERT(rows[0][i] == expected || rows[0][i] == "'" + expected);
  }
}

}  // namespace
}  // namespace ullage::report
