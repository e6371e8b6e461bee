// `ullage formats cast`: numbers of the command line rounded to a format, or to blocks of one.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "ullage/base/result.h"
#include "ullage/formats/blocks.h"
#include "ullage/formats/format.h"
#include "ullage/formats/rounding.h"

namespace ullage::apps {

struct CastRequest {
  std::vector<std::string> numbers;
  std::variant<formats::Format, formats::BlockFormat> to;
  formats::CastOptions options{formats::Overflow::saturate};
  formats::ScaleRule rule = formats::ScaleRule::floor;  // MX blocks
  std::string json;                                     // a file, "-", or empty: a table instead
};

// Prints or writes what was asked for.
Status cast_numbers(const CastRequest& request);

}  // namespace ullage::apps
