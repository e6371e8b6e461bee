// --layers: which layers a scan takes.
#include <charconv>
#include <limits>

#include "ullage/scan/scan.h"

namespace ullage::scan {
namespace {

std::optional<int> number(const std::string& text) {
  int value = 0;
  const auto end = std::from_chars(text.data(), text.data() + text.size(), value);
  if (end.ec != std::errc() || end.ptr != text.data() + text.size() || value < 0)
    return std::nullopt;
  return value;
}

}  // namespace

bool LayerFilter::takes(int layer, const std::string& name) const {
  if (range) return layer >= range->first && layer <= range->second;
  // std::regex recurses with the length of the text, and names come from files: a cut name is enough.
  return !pattern || std::regex_search(name.substr(0, 1000), *pattern);
}

Result<LayerFilter> parse_layers(const std::string& text) {
  LayerFilter filter;
  if (text.empty()) return filter;
  if (const auto one = number(text)) {
    filter.range = {*one, *one};
    return filter;
  }
  if (const auto colon = text.find(':');
      colon != std::string::npos && text.find_first_not_of("0123456789:") == std::string::npos) {
    const std::string before = text.substr(0, colon), after = text.substr(colon + 1);
    const auto first = before.empty() ? std::optional(0) : number(before);
    const auto last =
        after.empty() ? std::optional(std::numeric_limits<int>::max()) : number(after);
    if (!first || !last || *first > *last)
      return Error{Code::usage, "must be N, FIRST:LAST with FIRST <= LAST, or a regular expression",
                   "--layers", "", text};
    filter.range = {*first, *last};
    return filter;
  }
  try {
    filter.pattern = std::regex(text, std::regex::ECMAScript | std::regex::optimize);
  } catch (const std::regex_error&) {
    return Error{Code::usage,
                 "is no regular expression; write 3, 4:7 or a pattern such as 'layers\\.1\\.'",
                 "--layers", "", text};
  }
  return filter;
}

}  // namespace ullage::scan
