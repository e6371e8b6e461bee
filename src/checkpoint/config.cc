#include "ullage/checkpoint/config.h"

#include <cmath>
#include <cstdio>
#include <utility>

#include "checkpoint/file.h"
#include "checkpoint/json.h"
#include "ullage/base/path.h"

namespace ullage::checkpoint {

struct Config::Document {
  JsonDocument json;
  std::string where;
};

namespace {

constexpr std::uint32_t kAbsent = 0xFFFFFFFF;

// "a|b.c" -> calls visit("a"), then visit("b.c"), until one returns true.
template <class Visit>
bool each_alternative(std::string_view keys, Visit visit) {
  for (std::size_t at = 0; at <= keys.size();) {
    const std::size_t bar = std::min(keys.find('|', at), keys.size());
    if (visit(keys.substr(at, bar - at))) return true;
    at = bar + 1;
  }
  return false;
}

// The node under a dotted path, or kAbsent.
std::uint32_t descend(const JsonDocument& json, std::uint32_t node, std::string_view path) {
  for (std::size_t at = 0; at <= path.size();) {
    const std::size_t dot = std::min(path.find('.', at), path.size());
    node = json.member(node, path.substr(at, dot - at));
    if (node == 0) return kAbsent;
    at = dot + 1;
  }
  return node;
}

std::string number_text(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.9g", value);
  return text;
}

std::string show(const JsonDocument& json, std::uint32_t node) {
  switch (json[node].kind) {
    case NodeKind::null:
      return "null";
    case NodeKind::boolean:
      return json[node].boolean ? "true" : "false";
    case NodeKind::integer:
      return std::to_string(json[node].integer);
    case NodeKind::real:
      return number_text(json[node].real);
    case NodeKind::string:
      return std::string("the text ").append(json.text(node));
    case NodeKind::array:
      return "a list";
    case NodeKind::object:
      return "an object";
  }
  return {};
}

std::string range_text(IntegerRange range) {
  std::string text = "an integer from " + std::to_string(range.least);
  return text += " to " + std::to_string(range.most);
}

// Readers of one node: nullopt when it is not what is asked for.
std::optional<std::int64_t> as_integer(const JsonDocument& json, std::uint32_t node,
                                       IntegerRange range) {
  std::int64_t value = 0;
  if (json[node].kind == NodeKind::integer) {
    value = json[node].integer;
  } else if (json[node].kind == NodeKind::real) {
    const double real = json[node].real;
    constexpr double kExact =
        9007199254740992.0;  // 2^53: above, a double may stand for another integer
    if (!(std::fabs(real) <= kExact) || real != std::floor(real)) return std::nullopt;
    value = static_cast<std::int64_t>(real);
  } else {
    return std::nullopt;
  }
  if (value < range.least || value > range.most) return std::nullopt;
  return value;
}

std::optional<double> as_number(const JsonDocument& json, std::uint32_t node) {
  if (json[node].kind == NodeKind::integer) return static_cast<double>(json[node].integer);
  if (json[node].kind == NodeKind::real && std::isfinite(json[node].real)) return json[node].real;
  return std::nullopt;
}

std::optional<bool> as_boolean(const JsonDocument& json, std::uint32_t node) {
  if (json[node].kind != NodeKind::boolean) return std::nullopt;
  return json[node].boolean;
}

std::optional<std::string> as_string(const JsonDocument& json, std::uint32_t node) {
  if (json[node].kind != NodeKind::string) return std::nullopt;
  return std::string(json.text(node));
}

}  // namespace

Config::Config(std::shared_ptr<const Document> document, std::uint32_t node, std::string path)
    : document_(std::move(document)), node_(node), path_(std::move(path)) {}

Result<Config> Config::parse(std::string json, std::string where) {
  if (json.size() > kMaxConfigBytes)
    return Error{Code::config_invalid, "the file is too large for a configuration", where,
                 "at most " + std::to_string(kMaxConfigBytes) + " bytes",
                 std::to_string(json.size())};
  ULLAGE_ASSIGN(JsonDocument parsed,
                JsonDocument::parse(std::move(json), where, {.non_finite = NonFinite::accept}));
  if (parsed[0].kind != NodeKind::object)
    return Error{Code::config_invalid, "it must be a JSON object", where, {}, {}};
  auto document = std::make_shared<const Document>(std::move(parsed), std::move(where));
  return Config(std::move(document), 0, "");
}

Result<Config> Config::read(const std::string& path) {
  const std::string where = base_name(path);
  if (!entry_exists(path))
    return Error{Code::not_found,
                 "the checkpoint needs its configuration: put it there, or name it with --config",
                 path,
                 {},
                 {}};
  ULLAGE_ASSIGN(std::string text, read_text(path, kMaxConfigBytes, where, Code::config_invalid));
  return parse(std::move(text), where);
}

const std::string& Config::where() const { return document_->where; }

// Of the alternatives the first that is there (and not null, if `skip_null`); its full path in `found`.
std::uint32_t Config::lookup(std::string_view keys, bool skip_null, std::string* found) const {
  const JsonDocument& json = document_->json;
  std::uint32_t node = kAbsent;
  each_alternative(keys, [&](std::string_view key) {
    const std::uint32_t at = descend(json, node_, key);
    if (at == kAbsent || (skip_null && json[at].kind == NodeKind::null)) return false;
    node = at;
    if (found != nullptr) *found = path_ + std::string(key);
    return true;
  });
  return node;
}

Error Config::wrong(const std::string& key, std::uint32_t node, const std::string& expected) const {
  return {
      Code::config_invalid, key + " must be " + expected, where(), {}, show(document_->json, node)};
}

bool Config::has(std::string_view keys) const { return lookup(keys, true, nullptr) != kAbsent; }

std::string Config::found_key(std::string_view keys) const {
  std::string key;
  lookup(keys, true, &key);
  return key;
}

Config::Kind Config::kind(std::string_view keys) const {
  const std::uint32_t node = lookup(keys, false, nullptr);
  if (node == kAbsent) return Kind::absent;
  switch (document_->json[node].kind) {
    case NodeKind::null:
      return Kind::null;
    case NodeKind::boolean:
      return Kind::boolean;
    case NodeKind::integer:
      return Kind::integer;
    case NodeKind::real:
      return Kind::number;
    case NodeKind::string:
      return Kind::string;
    case NodeKind::array:
      return Kind::array;
    case NodeKind::object:
      return Kind::object;
  }
  return Kind::absent;
}

// The value under `keys` by one of the readers above.
template <class T, class Read>
Result<std::optional<T>> Config::optional_value(std::string_view keys, const std::string& expected,
                                                Read convert) const {
  std::string key;
  const std::uint32_t node = lookup(keys, true, &key);
  if (node == kAbsent) return std::optional<T>();
  std::optional<T> value = convert(document_->json, node);
  if (!value) return wrong(key, node, expected);
  return value;
}

template <class T>
Result<T> Config::required(std::string_view keys, Result<std::optional<T>> value) const {
  if (!value.ok()) return std::move(value).error();
  if (value->has_value()) return std::move(**value);
  std::string names;
  each_alternative(keys, [&](std::string_view key) {
    names += (names.empty() ? "" : " or ") + path_ + std::string(key);
    return false;
  });
  return Error{Code::config_invalid, names + " is missing", where(), {}, {}};
}

template <class T, class Read>
Result<std::vector<T>> Config::list(std::string_view keys, const std::string& expected,
                                    Read convert) const {
  std::string key;
  const std::uint32_t node = lookup(keys, true, &key);
  std::vector<T> values;
  if (node == kAbsent) return values;
  const JsonDocument& json = document_->json;
  if (json[node].kind != NodeKind::array) return wrong(key, node, "a list, each " + expected);
  for (std::uint32_t at = node + 1; at < json[node].next; at = json[at].next) {
    std::optional<T> value = convert(json, at);
    if (!value) return wrong(key + "[" + std::to_string(values.size()) + "]", at, expected);
    values.push_back(std::move(*value));
  }
  return values;
}

Result<std::optional<std::int64_t>> Config::optional_integer(std::string_view keys,
                                                             IntegerRange range) const {
  return optional_value<std::int64_t>(keys, range_text(range), [&](const auto& json, auto node) {
    return as_integer(json, node, range);
  });
}

Result<std::optional<double>> Config::optional_number(std::string_view keys) const {
  return optional_value<double>(keys, "a finite number", as_number);
}

Result<std::optional<bool>> Config::optional_boolean(std::string_view keys) const {
  return optional_value<bool>(keys, "true or false", as_boolean);
}

Result<std::optional<std::string>> Config::optional_string(std::string_view keys) const {
  return optional_value<std::string>(keys, "a text", as_string);
}

Result<std::int64_t> Config::integer(std::string_view keys, IntegerRange range) const {
  return required(keys, optional_integer(keys, range));
}

Result<double> Config::number(std::string_view keys) const {
  return required(keys, optional_number(keys));
}

Result<std::string> Config::string(std::string_view keys) const {
  return required(keys, optional_string(keys));
}

Result<std::vector<std::int64_t>> Config::integers(std::string_view keys,
                                                   IntegerRange range) const {
  return list<std::int64_t>(keys, range_text(range), [&](const auto& json, auto node) {
    return as_integer(json, node, range);
  });
}

Result<std::vector<double>> Config::numbers(std::string_view keys) const {
  return list<double>(keys, "a finite number", as_number);
}

Result<std::vector<std::string>> Config::strings(std::string_view keys) const {
  return list<std::string>(keys, "a text", as_string);
}

std::optional<Config> Config::section(std::string_view keys) const {
  std::string key;
  const std::uint32_t node = lookup(keys, true, &key);
  if (node == kAbsent || document_->json[node].kind != NodeKind::object) return std::nullopt;
  return Config(document_, node, key + ".");
}

std::vector<std::string_view> Config::keys() const {
  const JsonDocument& json = document_->json;
  std::vector<std::string_view> names;
  for (std::uint32_t at = node_ + 1; at < json[node_].next; at = json[at + 1].next)
    names.push_back(json.text(at));
  return names;
}

}  // namespace ullage::checkpoint
