// Strict JSON over untrusted text, as a stream of tokens and as a flat tree.
//
// RFC 8259 and nothing more: valid UTF-8, no byte order mark, no lone surrogates, no comments or trailing
// commas, at most kMaxDepth levels. Escapes are decoded in place (a string never grows by it), so names
// are views into the text and a token costs no allocation. Neither recurses.
//
// Why not the JSON library: over a header of 100,000 tensors (10.6 MB) the SAX parser of nlohmann-json
// 3.11 took 40 ms where this takes 11; it copies every name, skips a byte order mark, and cannot take the
// NaN that Python writes into config.json.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "ullage/base/result.h"

namespace ullage::checkpoint {

inline constexpr unsigned kMaxDepth = 64;  // one bit a level in JsonReader

enum class Token : std::uint8_t {
  object_begin,
  object_end,
  array_begin,
  array_end,
  key,
  string,
  unsigned_integer,  // digits alone, below 2^64
  negative_integer,  // "-" and digits ("-0" too), not below -2^63
  real,  // fraction, exponent, or an integer out of range; may have overflowed to infinity
  boolean_true,
  boolean_false,
  null,
  end,
  error,
};

enum class NonFinite : std::uint8_t {
  refuse,  // as the standard says
  accept,  // NaN, Infinity, -Infinity, which Python's json writes
};

class JsonReader {
 public:
  // Overwrites `text` as it decodes escapes.
  explicit JsonReader(std::span<char> text, NonFinite non_finite = NonFinite::refuse)
      : begin_(text.data()), at_(begin_), end_(begin_ + text.size()), non_finite_(non_finite) {}

  // The next token; after `end` or `error` the same again.
  Token next();

  std::string_view string() const { return string_; }  // of key and string
  std::uint64_t integer() const { return integer_; }   // magnitude, of both integer tokens
  double real() const { return real_; }

  // After `error`: the broken rule, and where. No byte of the text is in it.
  const char* problem() const { return problem_; }
  std::size_t position() const { return static_cast<std::size_t>(at_ - begin_); }

 private:
  enum class Expect : std::uint8_t { value, value_or_end, key, key_or_end, comma_or_end, nothing };

  Token fail(const char* problem);
  Token fail_at(const char* where, const char* problem);
  Token open(bool object);
  Token close();
  Token value(char first);
  Token number();
  Token literal(std::string_view word, Token token);
  bool read_string();
  bool read_escape(char*& write);
  int read_hex4();
  void skip_blanks();
  void after_value() { expect_ = depth_ == 0 ? Expect::nothing : Expect::comma_or_end; }
  bool in_object() const { return (objects_ >> (depth_ - 1) & 1) != 0; }

  char* begin_;
  char* at_;
  char* end_;
  std::uint64_t objects_ = 0;  // bit l: level l is an object
  unsigned depth_ = 0;
  Expect expect_ = Expect::value;
  NonFinite non_finite_;
  std::string_view string_;
  std::uint64_t integer_ = 0;
  double real_ = 0;
  const char* problem_ = nullptr;
};

// The error for a reader that stopped: "not valid JSON at byte 17: ...".
Error json_error(const JsonReader& reader, Code code, const std::string& where);

enum class NodeKind : std::uint8_t { null, boolean, integer, real, string, array, object };

// Where a string lies in the text of its document.
struct JsonText {
  std::uint32_t offset, length;
};

// One value in a JsonDocument. Children of a container follow it; in an object they alternate key, value.
struct JsonNode {
  NodeKind kind = NodeKind::null;
  std::uint32_t next = 0;  // index behind this value and all in it
  union {
    std::int64_t integer = 0;
    double real;
    bool boolean;
    JsonText text;
  };
};

struct JsonLimits {
  Code code = Code::config_invalid;  // of everything but duplicate keys
  std::size_t values = 1'000'000;
  NonFinite non_finite = NonFinite::refuse;
};

// A whole text as one array of nodes; the root is node 0. A key that one object has twice is an error
// at every level.
class JsonDocument {
 public:
  static Result<JsonDocument> parse(std::string text, const std::string& where,
                                    const JsonLimits& limits);

  const JsonNode& operator[](std::uint32_t node) const { return nodes_[node]; }
  std::string_view text(std::uint32_t node) const {
    return std::string_view(text_).substr(nodes_[node].text.offset, nodes_[node].text.length);
  }
  // The value of a key of an object; 0 (the root, which is no value of a key) when it has none.
  std::uint32_t member(std::uint32_t object, std::string_view key) const;

 private:
  // Refuses a key that is there twice, and indexes an object of many keys.
  Status check_keys(std::uint32_t object, const std::string& where);

  std::string text_;
  std::vector<JsonNode> nodes_;
  // Keys by name, of objects with more than kFewKeys: a config is asked for some hundred keys a layer.
  static constexpr std::size_t kFewKeys = 64;
  std::unordered_map<std::uint32_t, std::vector<std::uint32_t>> index_;
};

// Sorts `names` and finds one that is there twice; nullptr when all differ.
const std::string_view* find_duplicate(std::span<std::string_view> names);

}  // namespace ullage::checkpoint
