// --layers: which layers a scan takes.
#include <charconv>
#include <limits>

#include "ullage/scan/scan.h"

namespace ullage::scan {
namespace {

// Of a pattern, and of what is searched of a name: names come from files.
constexpr std::size_t kMostCharacters = 200;

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
  return !pattern || std::regex_search(name.substr(0, kMostCharacters), *pattern);
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
  // Compiling recurses with the nesting of the pattern, a counted repetition copies what it repeats, and a
  // look-ahead starts a search at every step of another.
  const auto has = [&](const char* part) { return text.find(part) != std::string::npos; };
  if (text.size() > kMostCharacters || has("{") || has("(?=") || has("(?!"))
    return Error{Code::usage,
                 "a pattern has at most " + std::to_string(kMostCharacters) +
                     " characters, no braces and no look-ahead",
                 "--layers", "", text};
  try {
    // libstdc++'s polynomial executor: it goes through the text once with all states of the pattern, where the
    // usual one backtracks, for ever on (.*)*x. It refuses back-references, which no other way can bound.
    filter.pattern = std::regex(
        text, std::regex::ECMAScript | std::regex::nosubs | std::regex_constants::__polynomial);
  } catch (const std::regex_error&) {
    return Error{Code::usage,
                 "is no regular expression; write 3, 4:7 or a pattern such as 'layers\\.1\\.'",
                 "--layers", "", text};
  }
  return filter;
}

}  // namespace ullage::scan
