#include "ullage/base/text.h"

#include <algorithm>
#include <cstdio>
#include <iterator>

namespace ullage {

DecodedUtf8 decode_utf8(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(at);
  if (first < 0x80) return {first, 1, true};
  const std::size_t length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  if (first < 0xC2 || first > 0xF4 || at + length > text.size()) return {first, 1, false};
  char32_t code = first & (0x7Fu >> length);
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(at + i) & 0xC0) != 0x80) return {first, 1, false};
    code = (code << 6) | (byte(at + i) & 0x3Fu);
  }
  constexpr char32_t kLeast[] = {0, 0, 0x80, 0x800, 0x10000};
  if (code < kLeast[length] || code > 0x10FFFF || (code >= 0xD800 && code < 0xE000))
    return {first, 1, false};
  return {code, length, true};
}

namespace {

struct CodeRange {
  char32_t first, last;
};

// Sorted. Unicode's default-ignorable characters, and what breaks or turns a line.
constexpr CodeRange kHidden[] = {
    {0x0000, 0x001F},    // C0 controls
    {0x007F, 0x009F},    // delete, C1 controls
    {0x00AD, 0x00AD},    // soft hyphen
    {0x034F, 0x034F},    // grapheme joiner
    {0x061C, 0x061C},    // Arabic letter mark
    {0x115F, 0x1160},    // Hangul fillers
    {0x17B4, 0x17B5},    // Khmer inherent vowels
    {0x180B, 0x180F},    // Mongolian selectors
    {0x200B, 0x200F},    // zero width, direction marks
    {0x2028, 0x202E},    // separators, embeddings
    {0x2060, 0x206F},    // invisible operators, isolates
    {0x3164, 0x3164},    // Hangul filler
    {0xFDD0, 0xFDEF},    // noncharacters
    {0xFE00, 0xFE0F},    // variation selectors
    {0xFEFF, 0xFEFF},    // byte order mark
    {0xFFA0, 0xFFA0},    // half-width filler
    {0xFFF0, 0xFFFB},    // unassigned, interlinear annotation
    {0x1BCA0, 0x1BCA3},  // shorthand format controls
    {0x1D173, 0x1D17A},  // musical format controls
    {0xE0000, 0xE0FFF},  // tags, variation selectors
};

}  // namespace

bool is_printable(char32_t code) {
  if (code < 0x7F) return code >= 0x20;
  const auto* const after =
      std::upper_bound(std::begin(kHidden), std::end(kHidden), code,
                       [](char32_t value, const CodeRange& range) { return value < range.first; });
  if (after != std::begin(kHidden) && code <= std::prev(after)->last) return false;
  return (code & 0xFFFE) != 0xFFFE;  // the last two of every plane are noncharacters
}

namespace {

enum class Markup { keep, codes, entities };

// What stands for a character that means something in HTML, or nullptr.
const char* entity(char32_t code) {
  switch (code) {
    case U'&':
      return "&amp;";
    case U'<':
      return "&lt;";
    case U'>':
      return "&gt;";
    case U'"':
      return "&quot;";
    case U'\'':
      return "&#39;";
    default:
      return nullptr;
  }
}

std::string escape(std::string_view text, std::size_t limit, Markup markup) {
  std::string out;
  std::size_t shown = 0;
  for (std::size_t at = 0; at < text.size(); ++shown) {
    if (shown == limit) {
      out += "... (" + std::to_string(text.size()) + " bytes)";
      break;
    }
    const DecodedUtf8 decoded = decode_utf8(text, at);
    char buffer[16];
    // Sentences of ours have apostrophes, and come this way too.
    const bool plain = markup == Markup::keep || (markup == Markup::codes && decoded.code == U'\'');
    const char* const as_entity = plain ? nullptr : entity(decoded.code);
    if (!decoded.valid) {
      std::snprintf(buffer, sizeof buffer, "\\x%02x", static_cast<unsigned>(decoded.code));
      out += buffer;
    } else if (as_entity != nullptr && markup == Markup::entities) {
      out += as_entity;
    } else if (as_entity != nullptr || !is_printable(decoded.code)) {
      std::snprintf(buffer, sizeof buffer, "\\u%04x", static_cast<unsigned>(decoded.code));
      out += buffer;
    } else {
      out.append(text.substr(at, decoded.length));
    }
    at += decoded.length;
  }
  return out;
}

}  // namespace

std::string escape_text(std::string_view text, std::size_t limit) {
  return escape(text, limit, Markup::keep);
}
std::string escape_name(std::string_view text, std::size_t limit) {
  return escape(text, limit, Markup::codes);
}
std::string escape_html(std::string_view text, std::size_t limit) {
  return escape(text, limit, Markup::entities);
}

}  // namespace ullage
