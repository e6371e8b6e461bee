// Untrusted text made safe to show.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace ullage {

// One code point of strict UTF-8 (no overlong forms, no surrogates, at most U+10FFFF) at text[at]; where
// the bytes are none, `code` is the first byte, `length` is 1 and `valid` is false.
struct DecodedUtf8 {
  char32_t code = 0;
  std::size_t length = 1;
  bool valid = false;
};
DecodedUtf8 decode_utf8(std::string_view text, std::size_t at);

// False for what could steer a terminal or hide in a line: controls, C1, direction marks, separators,
// zero-width and invisible characters, noncharacters.
bool is_printable(char32_t code);

// Bytes that are not printable UTF-8 (controls, C1, direction marks, broken sequences) become \xNN or
// \uNNNN, so the text stays on one line and cannot steer a terminal. Longer than `limit` code points:
// cut, with the length said.
std::string escape_text(std::string_view text, std::size_t limit = 160);

// escape_text, and & < > " as \u00NN: for names out of files in messages and tables, which may end up in a page or a
// log viewer.
std::string escape_name(std::string_view text, std::size_t limit = 160);

// escape_text, then & < > " ' as entities: safe in HTML text and in quoted attributes.
std::string escape_html(std::string_view text, std::size_t limit = 160);

}  // namespace ullage
