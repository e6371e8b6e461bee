// Untrusted text: what is shown is one printable line, and UTF-8 is read by the letter.
#include "ullage/base/text.h"

#include <gtest/gtest.h>

#include <rapidcheck/gtest.h>

#include <string>
#include <vector>

namespace ullage {
namespace {

// The standard's own description of UTF-8, as a writer: what it writes for c is the only valid form of c.
std::string encoded(char32_t c) {
  const auto byte = [](char32_t value) {
    return static_cast<char>(static_cast<unsigned char>(value));
  };
  if (c < 0x80) return {byte(c)};
  if (c < 0x800) return {byte(0xC0 | c >> 6), byte(0x80 | (c & 0x3F))};
  if (c < 0x10000)
    return {byte(0xE0 | c >> 12), byte(0x80 | (c >> 6 & 0x3F)), byte(0x80 | (c & 0x3F))};
  return {byte(0xF0 | c >> 18), byte(0x80 | (c >> 12 & 0x3F)), byte(0x80 | (c >> 6 & 0x3F)),
          byte(0x80 | (c & 0x3F))};
}

bool is_scalar(char32_t c) { return c <= 0x10FFFF && (c < 0xD800 || c > 0xDFFF); }

TEST(DecodeUtf8, ReadsEveryCodePoint) {
  for (char32_t c = 0; c <= 0x1FFFFF; ++c) {
    const std::string text = encoded(c);
    const DecodedUtf8 decoded = decode_utf8(text, 0);
    ASSERT_EQ(decoded.valid, is_scalar(c)) << std::hex << static_cast<unsigned>(c);
    if (decoded.valid) {
      ASSERT_EQ(decoded.code, c);
      ASSERT_EQ(decoded.length, text.size());
    } else {
      ASSERT_EQ(decoded.length, 1U);
      ASSERT_EQ(decoded.code, static_cast<unsigned char>(text[0]));
    }
  }
}

// Whatever is called valid is what the writer would have written: no overlong form gets through.
TEST(DecodeUtf8, AcceptsOneFormOnly) {
  std::string text(3, '\0');
  for (int a = 0; a < 256; ++a) {
    for (int b = 0; b < 256; ++b) {
      for (const int c : {0x00, 0x41, 0x7F, 0x80, 0x9F, 0xBF, 0xC0, 0xFF}) {
        text[0] = static_cast<char>(a);
        text[1] = static_cast<char>(b);
        text[2] = static_cast<char>(c);
        const DecodedUtf8 decoded = decode_utf8(text, 0);
        if (decoded.valid) {
          ASSERT_EQ(text.substr(0, decoded.length), encoded(decoded.code));
        }
      }
    }
  }
}

TEST(DecodeUtf8, StopsAtTheEndOfTheText) {
  for (const char32_t c : {U'\u00E9', U'\u20AC', U'\U0001F600'}) {
    const std::string text = encoded(c);
    for (std::size_t length = 1; length < text.size(); ++length) {
      EXPECT_FALSE(decode_utf8(std::string_view(text).substr(0, length), 0).valid);
    }
  }
}

TEST(IsPrintable, AsciiAndLetters) {
  for (char32_t c = 0x20; c < 0x7F; ++c) EXPECT_TRUE(is_printable(c));
  for (const char32_t c :
       {U'\u00A0', U'\u00E9', U'\u03C3', U'\u2713', U'\u4E2D', U'\uFFFD', U'\U0001F600'})
    EXPECT_TRUE(is_printable(c)) << std::hex << static_cast<unsigned>(c);
}

TEST(IsPrintable, NothingThatSteersOrHides) {
  for (char32_t c = 0; c < 0x20; ++c) EXPECT_FALSE(is_printable(c));
  for (char32_t c = 0x7F; c < 0xA0; ++c) EXPECT_FALSE(is_printable(c));
  for (const char32_t c :
       {0x00AD, 0x034F,  0x061C,  0x115F,  0x1160,  0x17B4,  0x180E,  0x200B,  0x200D,
        0x200F, 0x2028,  0x2029,  0x202A,  0x202E,  0x2060,  0x2066,  0x2069,  0x206F,
        0x3164, 0xFDD0,  0xFDEF,  0xFE0F,  0xFEFF,  0xFFA0,  0xFFF9,  0xFFFB,  0xFFFE,
        0xFFFF, 0x1BCA0, 0x1D173, 0x1FFFE, 0xE0001, 0xE007F, 0xE01EF, 0x10FFFF})
    EXPECT_FALSE(is_printable(c)) << std::hex << static_cast<unsigned>(c);
}

TEST(EscapeText, LeavesPrintableTextAlone) {
  EXPECT_EQ(escape_text("model.layers.0 \xC3\xA9"), "model.layers.0 \xC3\xA9");
  EXPECT_EQ(escape_text(""), "");
}

TEST(EscapeText, EscapesWhatCouldSteerATerminal) {
  EXPECT_EQ(escape_text("a\x1b[31m\nb"), "a\\u001b[31m\\u000ab");
  EXPECT_EQ(escape_text("\xC2\x9B"), "\\u009b");
  EXPECT_EQ(escape_text("\xE2\x80\xAE"), "\\u202e");
  EXPECT_EQ(escape_text("\xC0\xAF"), "\\xc0\\xaf");
  EXPECT_EQ(escape_text(std::string_view("\0", 1)), "\\u0000");
}

TEST(EscapeText, CutsLongNamesAndSaysTheLength) {
  EXPECT_EQ(escape_text("abcdef", 3), "abc... (6 bytes)");
  EXPECT_EQ(escape_text("abc", 3), "abc");
  EXPECT_EQ(escape_text("\xC3\xA9\xC3\xA9", 1), "\xC3\xA9... (4 bytes)");
  EXPECT_EQ(escape_text("a", 0), "... (1 bytes)");
}

TEST(EscapeName, LeavesNoMarkup) {
  EXPECT_EQ(escape_name("a.b-c_0"), "a.b-c_0");
  EXPECT_EQ(escape_name("<b a='\"'>&\n"), "\\u003cb a='\\u0022'\\u003e\\u0026\\u000a");
}

TEST(EscapeHtml, EscapesMarkup) {
  EXPECT_EQ(escape_html("<b a='\"'>&"), "&lt;b a=&#39;&quot;&#39;&gt;&amp;");
  EXPECT_EQ(escape_html("</script>\n"), "&lt;/script&gt;\\u000a");
}

RC_GTEST_PROP(EscapeText, AnyBytesBecomeOneLine, (const std::vector<unsigned char>& bytes)) {
  const std::string text(bytes.begin(), bytes.end());
  const std::string shown = escape_text(text);
  for (std::size_t at = 0; at < shown.size();) {
    const DecodedUtf8 decoded = decode_utf8(shown, at);
    RC_ASSERT(decoded.valid && is_printable(decoded.code));
    at += decoded.length;
  }
  RC_ASSERT(escape_text(shown, shown.size()) == shown);
  RC_ASSERT(escape_html(text).find_first_of("<>\"'") == std::string::npos);
}

}  // namespace
}  // namespace ullage
