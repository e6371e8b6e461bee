// One number of a paper's table or figure beside ours.
#pragma once

#include <cstddef>
#include <optional>
#include <string>

#include "ullage/attention/statistics.h"

namespace ullage::attention {

struct ValueRow {
  std::string quantity;
  std::optional<double> published;
  double ours = 0;
  std::optional<Interval> interval = {};  // of ours, two standard errors either way
  std::size_t n = 1;                      // what `ours` is a mean over, or 1
};

}  // namespace ullage::attention
