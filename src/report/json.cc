#include "ullage/report/json.h"

#include <array>
#include <cassert>
#include <cmath>
#include <cstdio>
#include <utility>

#include "ullage/base/text.h"
#include "ullage/report/numbers.h"

namespace ullage::report {
namespace {

// \uXXXX, or a surrogate pair beyond U+FFFF (RFC 8259, section 7).
void put_escape(std::string& out, char32_t code) {
  if (code > 0xFFFF) {
    code -= 0x10000;
    put_escape(out, 0xD800 + (code >> 10));
    put_escape(out, 0xDC00 + (code & 0x3FF));
    return;
  }
  std::array<char, 8> buffer;
  std::snprintf(buffer.data(), buffer.size(), "\\u%04x", static_cast<unsigned>(code));
  out += buffer.data();
}

const char* short_escape(char32_t code) {
  switch (code) {
    case '"':
      return "\\\"";
    case '\\':
      return "\\\\";
    case '\b':
      return "\\b";
    case '\f':
      return "\\f";
    case '\n':
      return "\\n";
    case '\r':
      return "\\r";
    case '\t':
      return "\\t";
    default:
      return nullptr;
  }
}

}  // namespace

void JsonWriter::new_line(std::size_t depth) {
  out_ += '\n';
  out_.append(depth * static_cast<std::size_t>(options_.indent), ' ');
}

// The comma and the white space before a member of an object or an array.
void JsonWriter::separate(Level& level) {
  if (!level.empty) out_ += ',';
  if (options_.indent > 0) {
    if (!level.line) {
      new_line(levels_.size());
    } else if (!level.empty) {
      out_ += ' ';
    }
  }
  level.empty = false;
}

void JsonWriter::before_value() {
  if (levels_.empty()) return;
  assert(levels_.back().object == after_key_);
  if (!after_key_) separate(levels_.back());
  after_key_ = false;
}

JsonWriter& JsonWriter::begin(char bracket, JsonLayout layout) {
  before_value();
  Level level;
  level.object = bracket == '{';
  level.line = layout == JsonLayout::line || (!levels_.empty() && levels_.back().line);
  levels_.push_back(std::move(level));
  out_ += bracket;
  return *this;
}

JsonWriter& JsonWriter::begin_object(JsonLayout layout) { return begin('{', layout); }
JsonWriter& JsonWriter::begin_array(JsonLayout layout) { return begin('[', layout); }

JsonWriter& JsonWriter::end() {
  assert(!levels_.empty() && !after_key_);
  if (!levels_.back().why.empty()) {
    const auto why = std::exchange(levels_.back().why, {});
    key("why").begin_object(JsonLayout::line);
    for (const auto& [name, reason] : why) key(name).text(reason);
    end();
  }
  const Level level = std::move(levels_.back());
  levels_.pop_back();
  if (options_.indent > 0 && !level.line && !level.empty) new_line(levels_.size());
  out_ += level.object ? '}' : ']';
  if (levels_.empty()) out_ += '\n';
  return *this;
}

JsonWriter& JsonWriter::key(std::string_view name) {
  assert(!levels_.empty() && levels_.back().object && !after_key_);
  separate(levels_.back());
  put_text(name);
  out_ += options_.indent > 0 ? ": " : ":";
  levels_.back().last_key = name;
  after_key_ = true;
  return *this;
}

void JsonWriter::put_text(std::string_view value) {
  out_ += '"';
  for (std::size_t at = 0; at < value.size();) {
    const DecodedUtf8 decoded = decode_utf8(value, at);
    const bool markup = options_.html && decoded.code < 0x80 &&
                        std::string_view("<>&'").find(value[at]) != std::string_view::npos;
    if (!decoded.valid) {
      out_ += "\\ufffd";
    } else if (const char* brief = short_escape(decoded.code)) {
      out_ += brief;
    } else if (markup || !is_printable(decoded.code)) {
      put_escape(out_, decoded.code);
    } else {
      out_ += value.substr(at, decoded.length);
    }
    at += decoded.length;
  }
  out_ += '"';
}

JsonWriter& JsonWriter::text(std::string_view value) {
  before_value();
  put_text(value);
  return *this;
}

JsonWriter& JsonWriter::integer(std::int64_t value) {
  before_value();
  out_ += std::to_string(value);
  return *this;
}

JsonWriter& JsonWriter::natural(std::uint64_t value) {
  before_value();
  out_ += std::to_string(value);
  return *this;
}

JsonWriter& JsonWriter::boolean(bool value) {
  before_value();
  out_ += value ? "true" : "false";
  return *this;
}

// Under the key of the nearest object; a list with several reasons keeps the first.
void JsonWriter::record(std::string_view reason) {
  if (reason.empty()) return;
  for (std::size_t depth = levels_.size(); depth-- > 0;) {
    Level& level = levels_[depth];
    if (!level.object) continue;
    if (level.why.empty() || level.why.back().first != level.last_key) {
      level.why.emplace_back(level.last_key, reason);
    }
    return;
  }
}

void JsonWriter::put_number(const std::string& shortest, bool finite, std::string_view reason) {
  before_value();
  out_ += finite ? shortest : "null";
  if (!finite) record(reason);
}

JsonWriter& JsonWriter::number(double value, std::string_view reason) {
  put_number(format_shortest(value), std::isfinite(value), reason);
  return *this;
}

JsonWriter& JsonWriter::number(float value, std::string_view reason) {
  put_number(format_shortest(value), std::isfinite(value), reason);
  return *this;
}

JsonWriter& JsonWriter::null(std::string_view reason) {
  put_number({}, false, reason);
  return *this;
}

std::string JsonWriter::take() { return std::exchange(out_, {}); }

}  // namespace ullage::report
