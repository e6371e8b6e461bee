// The page's style, script and icons as they stand in src/report/assets, with their SHA-256 in
// hexadecimal.
#pragma once

#include <string_view>

namespace ullage::report {

extern const std::string_view kPageScript;
extern const std::string_view kPageStyle;
extern const std::string_view kPageIcons;  // <symbol> elements
extern const std::string_view kPageScriptSha256;
extern const std::string_view kPageStyleSha256;

}  // namespace ullage::report
