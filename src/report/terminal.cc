#include "ullage/report/terminal.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <cstdlib>

#include "ullage/base/text.h"

namespace ullage::report {
namespace {

struct Range {
  char32_t first;
  char32_t last;
};

// Unicode 15, blocks rather than single characters where a whole block agrees; ascending.
constexpr Range kNoWidth[] = {
    {0x0300, 0x036F}, {0x0483, 0x0489},   {0x0591, 0x05BD},  {0x05BF, 0x05BF}, {0x05C1, 0x05C2},
    {0x05C4, 0x05C5}, {0x0610, 0x061A},   {0x064B, 0x065F},  {0x0670, 0x0670}, {0x06D6, 0x06DC},
    {0x06DF, 0x06E4}, {0x06E7, 0x06E8},   {0x06EA, 0x06ED},  {0x0900, 0x0902}, {0x093A, 0x093A},
    {0x093C, 0x093C}, {0x0941, 0x0948},   {0x094D, 0x094D},  {0x0951, 0x0957}, {0x0E31, 0x0E31},
    {0x0E34, 0x0E3A}, {0x0E47, 0x0E4E},   {0x1160, 0x11FF},  {0x1AB0, 0x1AFF}, {0x1DC0, 0x1DFF},
    {0x200B, 0x200F}, {0x20D0, 0x20FF},   {0x302A, 0x302D},  {0x3099, 0x309A}, {0xFE00, 0xFE0F},
    {0xFE20, 0xFE2F}, {0x1F3FB, 0x1F3FF}, {0xE0100, 0xE01EF}};
constexpr Range kWide[] = {
    {0x1100, 0x115F},   {0x231A, 0x231B},   {0x2329, 0x232A},   {0x23E9, 0x23EC},
    {0x25FD, 0x25FE},   {0x2614, 0x2615},   {0x2648, 0x2653},   {0x26A1, 0x26A1},
    {0x2705, 0x2705},   {0x274C, 0x274C},   {0x2E80, 0x303E},   {0x3041, 0x33FF},
    {0x3400, 0x4DBF},   {0x4E00, 0x9FFF},   {0xA000, 0xA4CF},   {0xA960, 0xA97F},
    {0xAC00, 0xD7A3},   {0xF900, 0xFAFF},   {0xFE30, 0xFE6F},   {0xFF00, 0xFF60},
    {0xFFE0, 0xFFE6},   {0x17000, 0x18CFF}, {0x1B000, 0x1B2FF}, {0x1F004, 0x1F004},
    {0x1F0CF, 0x1F0CF}, {0x1F200, 0x1F265}, {0x1F300, 0x1F64F}, {0x1F680, 0x1F6FF},
    {0x1F7E0, 0x1F7EB}, {0x1F900, 0x1F9FF}, {0x1FA70, 0x1FAFF}, {0x20000, 0x3FFFD}};

template <std::size_t count>
bool in(const Range (&ranges)[count], char32_t code) {
  const auto* found =
      std::lower_bound(std::begin(ranges), std::end(ranges), code,
                       [](const Range& range, char32_t wanted) { return range.last < wanted; });
  return found != std::end(ranges) && found->first <= code;
}

std::size_t width_of(const DecodedUtf8& decoded) {
  if (!decoded.valid || decoded.code < 0x300) return 1;
  if (in(kNoWidth, decoded.code)) return 0;
  return in(kWide, decoded.code) ? 2 : 1;
}

std::string_view environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? std::string_view() : std::string_view(value);
}

// The first of these that is set decides (POSIX, "Internationalization Variables").
bool utf8_locale() {
  for (const char* name : {"LC_ALL", "LC_CTYPE", "LANG"}) {
    std::string value(environment(name));
    if (value.empty()) continue;
    for (char& c : value) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
    return value.find("utf-8") != std::string::npos || value.find("utf8") != std::string::npos;
  }
  return false;
}

std::size_t window_width(int descriptor) {
  std::size_t columns = 0;
  const std::string_view forced = environment("COLUMNS");
  std::from_chars(forced.data(), forced.data() + forced.size(), columns);
  if (columns >= 20 && columns <= 10000) return columns;
  winsize size{};
  if (ioctl(descriptor, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
  return 80;
}

}  // namespace

Terminal terminal_of(int descriptor) {
  Terminal terminal;
  terminal.utf8 = utf8_locale();
  if (isatty(descriptor) == 0) return terminal;
  terminal.width = window_width(descriptor);
  const bool dumb = environment("TERM") == "dumb";
  terminal.interactive = !dumb;
  terminal.colour = !dumb && environment("NO_COLOR").empty();
  return terminal;
}

std::size_t display_width(std::string_view text) {
  std::size_t width = 0;
  for (std::size_t at = 0; at < text.size();) {
    const DecodedUtf8 decoded = decode_utf8(text, at);
    width += width_of(decoded);
    at += decoded.length;
  }
  return width;
}

std::string cut_to_width(std::string_view text, std::size_t width, bool utf8) {
  if (display_width(text) <= width) return std::string(text);
  const std::string_view ellipsis = utf8 ? "\u2026" : "...";
  const std::size_t mark = std::min(display_width(ellipsis), width);
  std::size_t used = 0;
  std::size_t at = 0;
  while (at < text.size()) {
    const DecodedUtf8 decoded = decode_utf8(text, at);
    if (used + width_of(decoded) > width - mark) break;
    used += width_of(decoded);
    at += decoded.length;
  }
  // Either ellipsis is cut by bytes only where it is ASCII: the other is one column wide.
  return std::string(text.substr(0, at)) + std::string(mark == 0 ? ""
                                                       : utf8    ? ellipsis
                                                                 : ellipsis.substr(0, mark));
}

std::string terminal_text(std::string_view text, const Terminal& terminal, std::size_t limit) {
  std::string safe = escape_name(text, limit);
  if (terminal.utf8) return safe;
  std::string ascii;
  for (std::size_t at = 0; at < safe.size();) {
    const DecodedUtf8 decoded = decode_utf8(safe, at);
    if (decoded.code < 0x80) {
      ascii += safe[at];
    } else {
      std::array<char, 16> buffer;
      std::snprintf(buffer.data(), buffer.size(), "\\u%04x", static_cast<unsigned>(decoded.code));
      ascii += buffer.data();
    }
    at += decoded.length;
  }
  return ascii;
}

std::string paint(std::string_view text, Tone tone, const Terminal& terminal) {
  if (!terminal.colour || tone == Tone::plain || text.empty()) return std::string(text);
  const char* begin = "";
  switch (tone) {
    case Tone::plain:
      break;
    case Tone::good:
      begin = "\x1b[32m";
      break;
    case Tone::warn:
      begin = "\x1b[33m";
      break;
    case Tone::bad:
      begin = "\x1b[1;31m";
      break;
    case Tone::dim:
      begin = "\x1b[2m";
      break;
    case Tone::strong:
      begin = "\x1b[1m";
      break;
  }
  return begin + std::string(text) + "\x1b[0m";
}

}  // namespace ullage::report
