// A scan as one self-contained HTML page.
#pragma once

#include <string>

#include "ullage/base/result.h"
#include "ullage/scan/result.h"

namespace ullage::apps {

Result<std::string> scan_page(const scan::ScanResult& result);

}  // namespace ullage::apps
