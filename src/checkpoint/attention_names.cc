// From tensor names to layers: PREFIX + stem + name + ".weight", anchored at both ends.
#include <algorithm>
#include <charconv>
#include <map>

#include "checkpoint/attention_reader.h"

namespace ullage::checkpoint {
namespace {

struct Match {
  std::string_view prefix;
  int numbers[2] = {0, 0};
};

// Takes digits off the end of `text`: a number as it is written by a program, at most six digits.
std::optional<int> take_number(std::string_view& text) {
  std::size_t digits = 0;
  while (digits < text.size() && digits < 7 && text[text.size() - 1 - digits] >= '0' &&
         text[text.size() - 1 - digits] <= '9')
    ++digits;
  const std::string_view number = text.substr(text.size() - digits);
  if (digits == 0 || digits > 6 || (digits > 1 && number[0] == '0')) return std::nullopt;
  int value = 0;
  std::from_chars(number.data(), number.data() + number.size(), value);
  text.remove_suffix(digits);
  return value;
}

bool take_ending(std::string_view& text, std::string_view ending) {
  if (!text.ends_with(ending)) return false;
  text.remove_suffix(ending.size());
  return true;
}

// `pattern` has {i} and perhaps {j}; matched from its end.
std::optional<Match> match(std::string_view name, std::string_view pattern) {
  Match found;
  while (true) {
    const std::size_t open = pattern.rfind('{');
    if (open == std::string_view::npos) break;
    if (!take_ending(name, pattern.substr(open + 3))) return std::nullopt;
    const std::optional<int> number = take_number(name);
    if (!number) return std::nullopt;
    found.numbers[pattern[open + 1] == 'j' ? 1 : 0] = *number;
    pattern = pattern.substr(0, open);
  }
  if (!take_ending(name, pattern)) return std::nullopt;
  if (!name.empty() && name.back() != '.') return std::nullopt;
  found.prefix = name;
  return found;
}

}  // namespace

std::string expand(std::string_view stem, int layer, int part) {
  std::string text(stem);
  for (const auto& [mark, number] : {std::pair{"{i}", layer}, std::pair{"{j}", part}})
    if (const std::size_t at = text.find(mark); at != std::string::npos)
      text.replace(at, 3, std::to_string(number));
  return text;
}

std::string_view probe_of(const Row& row) { return row.fused.empty() ? row.query : row.fused; }

Result<std::vector<LayerGroup>> find_layers(const TensorStore& store, std::string_view stem,
                                            std::string_view probe) {
  const std::string pattern = std::string(stem) + std::string(probe) + ".weight";
  std::map<std::string, std::vector<LayerKey>, std::less<>> groups;
  for (const TensorInfo& tensor : store.tensors()) {
    const std::optional<Match> found = match(tensor.name, pattern);
    if (!found) continue;
    if (std::max(found->numbers[0], found->numbers[1]) >= kMaxLayers)
      return Error{Code::value_invalid,
                   "a layer's index is larger than any model has",
                   store.describe(tensor),
                   "below " + std::to_string(kMaxLayers),
                   {}};
    auto group = groups.find(found->prefix);
    if (group == groups.end()) group = groups.emplace(std::string(found->prefix), 0).first;
    group->second.push_back({found->numbers[0], found->numbers[1]});
  }
  std::vector<LayerGroup> sorted;
  for (auto& [prefix, layers] : groups) {
    std::sort(layers.begin(), layers.end());
    sorted.push_back({prefix, std::move(layers)});
  }
  return sorted;
}

}  // namespace ullage::checkpoint
