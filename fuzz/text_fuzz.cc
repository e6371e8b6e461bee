// Any bytes, escaped, are one line of printable text, whatever they were.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "ullage/base/text.h"

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

void check(const std::string& shown) {
  for (const char c : shown) {
    const auto byte = static_cast<unsigned char>(c);
    require(byte >= 0x20 && byte != 0x7F);
  }
  // What was escaped needs no escaping again.
  require(ullage::escape_text(shown, shown.size() + 1) == shown);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  check(ullage::escape_text(text));
  check(ullage::escape_text(text, 8));
  const std::string html = ullage::escape_html(text);
  check(html);
  require(html.find_first_of("<>\"'") == std::string::npos);
  return 0;
}
