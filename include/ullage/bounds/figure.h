// Figure: a bound, or the reason why there is none.
#pragma once

#include <string_view>

namespace ullage::bounds {

// `why` is text of ours with static lifetime, empty where there is a value.
struct Figure {
  double value = 0.0;
  std::string_view why;

  Figure() : why("not computed") {}
  Figure(double v) : value(v) {}  // NOLINT(google-explicit-constructor)
  static Figure none(std::string_view reason) {
    Figure figure;
    figure.why = reason;
    return figure;
  }

  [[nodiscard]] bool has_value() const { return why.empty(); }
  explicit operator bool() const { return has_value(); }
};

}  // namespace ullage::bounds
