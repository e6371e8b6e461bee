// The flat tree of json.h.
#include <algorithm>

#include "checkpoint/json.h"

namespace ullage::checkpoint {

const std::string_view* find_duplicate(std::span<std::string_view> names) {
  std::sort(names.begin(), names.end());
  const auto twice = std::adjacent_find(names.begin(), names.end());
  return twice == names.end() ? nullptr : &*twice;
}

Status JsonDocument::check_keys(std::uint32_t object, const std::string& where) {
  std::vector<std::string_view> keys;
  for (std::uint32_t key = object + 1; key < nodes_[object].next; key = nodes_[key + 1].next)
    keys.push_back(text(key));
  if (const std::string_view* twice = find_duplicate(keys))
    return Error{
        Code::duplicate_key, "one object has this key twice", where, {}, std::string(*twice)};
  if (keys.size() <= kFewKeys) return {};
  std::vector<std::uint32_t>& index = index_[object];
  index.reserve(keys.size());
  for (std::uint32_t key = object + 1; key < nodes_[object].next; key = nodes_[key + 1].next)
    index.push_back(key);
  std::sort(index.begin(), index.end(),
            [&](std::uint32_t a, std::uint32_t b) { return text(a) < text(b); });
  return {};
}

Result<JsonDocument> JsonDocument::parse(std::string text, const std::string& where,
                                         const JsonLimits& limits) {
  JsonDocument document;
  document.text_ = std::move(text);
  std::vector<JsonNode>& nodes = document.nodes_;
  JsonReader reader(document.text_, limits.non_finite);
  std::uint32_t open[kMaxDepth];  // containers that are not closed yet, outermost first
  unsigned depth = 0;
  const auto too_many = [&] {
    return Error{limits.code,
                 "it holds too many values",
                 where,
                 "at most " + std::to_string(limits.values),
                 {}};
  };
  for (;;) {
    const Token token = reader.next();
    if (token == Token::end) return document;
    if (token == Token::error) return json_error(reader, limits.code, where);
    if (token == Token::object_end || token == Token::array_end) {
      const std::uint32_t container = open[--depth];
      nodes[container].next = static_cast<std::uint32_t>(nodes.size());
      if (token == Token::object_end) ULLAGE_TRY(document.check_keys(container, where));
      continue;
    }
    if (nodes.size() == limits.values) return too_many();
    JsonNode node;
    node.next = static_cast<std::uint32_t>(nodes.size()) + 1;
    switch (token) {
      case Token::object_begin:
      case Token::array_begin:
        node.kind = token == Token::object_begin ? NodeKind::object : NodeKind::array;
        open[depth++] = static_cast<std::uint32_t>(nodes.size());
        break;
      case Token::key:
      case Token::string:
        node.kind = NodeKind::string;
        node.text = {static_cast<std::uint32_t>(reader.string().data() - document.text_.data()),
                     static_cast<std::uint32_t>(reader.string().size())};
        break;
      case Token::unsigned_integer:
        node.kind = NodeKind::integer;
        node.integer = static_cast<std::int64_t>(reader.integer());
        if (reader.integer() >> 63 != 0) {
          node.kind = NodeKind::real;
          node.real = static_cast<double>(reader.integer());
        }
        break;
      case Token::negative_integer:
        node.kind = NodeKind::integer;
        node.integer = static_cast<std::int64_t>(-reader.integer());
        break;
      case Token::real:
        node.kind = NodeKind::real;
        node.real = reader.real();
        break;
      case Token::boolean_true:
      case Token::boolean_false:
        node.kind = NodeKind::boolean;
        node.boolean = token == Token::boolean_true;
        break;
      default:
        break;
    }
    nodes.push_back(node);
  }
}

std::uint32_t JsonDocument::member(std::uint32_t object, std::string_view key) const {
  if (nodes_[object].kind != NodeKind::object) return 0;
  if (const auto found = index_.find(object); found != index_.end()) {
    const auto at = std::lower_bound(
        found->second.begin(), found->second.end(), key,
        [&](std::uint32_t node, std::string_view name) { return text(node) < name; });
    return at != found->second.end() && text(*at) == key ? *at + 1 : 0;
  }
  for (std::uint32_t at = object + 1; at < nodes_[object].next; at = nodes_[at + 1].next)
    if (text(at) == key) return at + 1;
  return 0;
}

}  // namespace ullage::checkpoint
