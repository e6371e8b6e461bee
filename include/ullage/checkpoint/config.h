// config.json: untrusted numbers and names, read through getters that check type and range.
//
// A key is a dotted path with alternatives: "num_attention_heads|n_head|attn_config.n_heads" takes
// the first that is present and not null. Duplicate keys, nesting deeper than 64 and more than a
// million values are refused when the file is read; nothing here recurses.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ullage/base/result.h"

namespace ullage::checkpoint {

inline constexpr std::uint64_t kMaxConfigBytes = 16u << 20;

struct IntegerRange {
  std::int64_t least = 1;
  std::int64_t most = 1'000'000;
};

// A view of config.json or of an object in it; copies share the text.
class Config {
 public:
  // `where` names the file in errors. Codes: config_invalid, duplicate_key; read() also not_found,
  // not_readable and resource.
  static Result<Config> parse(std::string json, std::string where);
  static Result<Config> read(const std::string& path);

  // Present and not null.
  bool has(std::string_view keys) const;
  // The alternative that has() found, as a path from the top of the file ("text_config.n_head").
  std::string found_key(std::string_view keys) const;

  // Absent or null gives nullopt; another type, or out of range, config_invalid with key and value.
  // 8.0 is an integer (some exporters write floats), 8.5 and "8" are not.
  Result<std::optional<std::int64_t>> optional_integer(std::string_view keys,
                                                       IntegerRange range = {}) const;
  Result<std::optional<double>> optional_number(std::string_view keys) const;  // finite
  Result<std::optional<bool>> optional_boolean(std::string_view keys) const;
  Result<std::optional<std::string>> optional_string(std::string_view keys) const;

  // As above; absent or null is config_invalid, which names every alternative.
  Result<std::int64_t> integer(std::string_view keys, IntegerRange range = {}) const;
  Result<double> number(std::string_view keys) const;
  Result<std::string> string(std::string_view keys) const;

  // Absent or null gives an empty list; elements of another type are config_invalid.
  Result<std::vector<std::int64_t>> integers(std::string_view keys, IntegerRange range = {}) const;
  Result<std::vector<double>> numbers(std::string_view keys) const;
  Result<std::vector<std::string>> strings(std::string_view keys) const;

  enum class Kind : std::uint8_t { absent, null, boolean, integer, number, string, array, object };
  // Of the first alternative that is present, null included.
  Kind kind(std::string_view keys) const;

  // The object under a key ("text_config"); nullopt when absent, null or not an object.
  std::optional<Config> section(std::string_view keys) const;
  // Names of this object's keys in file order.
  std::vector<std::string_view> keys() const;

  const std::string& where() const;                  // the file
  const std::string& path() const { return path_; }  // "" at the top, else "text_config."

 private:
  struct Document;
  Config(std::shared_ptr<const Document> document, std::uint32_t node, std::string path);
  std::uint32_t lookup(std::string_view keys, bool skip_null, std::string* found) const;
  Error wrong(const std::string& key, std::uint32_t node, const std::string& expected) const;
  template <class T, class Read>
  Result<std::optional<T>> optional_value(std::string_view keys, const std::string& expected,
                                          Read convert) const;
  template <class T>
  Result<T> required(std::string_view keys, Result<std::optional<T>> value) const;
  template <class T, class Read>
  Result<std::vector<T>> list(std::string_view keys, const std::string& expected,
                              Read convert) const;

  std::shared_ptr<const Document> document_;
  std::uint32_t node_ = 0;
  std::string path_;
};

}  // namespace ullage::checkpoint
