// A scan as text for a terminal: verdict by format, layers, heads.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "ullage/report/table.h"
#include "ullage/report/terminal.h"
#include "ullage/scan/result.h"

namespace ullage::apps {

struct TableOptions {
  bool heads = false;   // every head
  std::size_t top = 0;  // this many worst heads; 0: none
};

std::string scan_text(const scan::ScanResult& result, const TableOptions& options,
                      const report::Terminal& terminal);

// "2.31", or "-" where there is no figure.
std::string cell_text(const scan::Figure& figure, int digits = 3);
// The same for a certificate: not below it.
std::string bound_text(const scan::Figure& figure, int digits = 3);

// What the unscaled logits of a checkpoint's heads do in one format.
struct Verdict {
  std::size_t safe = 0;     // certified to fit
  std::size_t likely = 0;   // expected to fit
  std::size_t over = 0;     // can overflow
  std::size_t unknown = 0;  // no figure
};
Verdict verdict_of(const scan::ScanResult& result, double format_max);
// "cannot overflow", "expected to fit", "not known", "can overflow".
report::Cell verdict_cell(const Verdict& verdict);
// The formats that are reported always, and --format.
std::vector<std::string> formats_shown(const scan::ScanResult& result);

// How a headroom figure is coloured: bad below 0 bits, warn below 1.
report::Tone headroom_tone(const scan::Figure& bits);

}  // namespace ullage::apps
