// A scan as text for a terminal: verdict by format, layers, heads.
#pragma once

#include <cstddef>
#include <string>

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
// How a headroom figure is coloured: bad below 0 bits, warn below 1.
report::Tone headroom_tone(const scan::Figure& bits);

}  // namespace ullage::apps
