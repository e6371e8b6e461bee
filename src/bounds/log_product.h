// Logarithms of determinants out of pivots.
#pragma once

#include <cmath>

namespace ullage::bounds {

// log of a product of many factors in (0, 1], one logarithm for eight of them.
class LogProduct {
 public:
  void multiply(double factor) {
    product_ *= factor;
    if (++count_ % 8 == 0) flush();
  }
  double value() {
    flush();
    return sum_;
  }

 private:
  void flush() {
    sum_ += std::log(product_);
    product_ = 1.0;
  }
  double product_ = 1.0;
  double sum_ = 0.0;
  int count_ = 0;
};

// Pivots smaller than this are at the border of what is feasible; their eighth power is a number.
inline constexpr double kLeastPivot = 1e-30;

}  // namespace ullage::bounds
