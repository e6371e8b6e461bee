// One head's rows in device memory.
#pragma once

#include <cstddef>

#include "ullage/spectrum/gram.h"

namespace ullage::cuda {

// As spectrum::HeadRows, all pointers to device memory. Owns nothing.
struct DeviceRows {
  const void* values = nullptr;  // uint16_t (bfloat16 bits), float or double
  spectrum::Element element = spectrum::Element::bf16;
  int rows = 0;  // head width, at most kMostRows
  int width = 0;
  std::ptrdiff_t stride = 0;     // elements between the starts of two rows
  const double* gain = nullptr;  // one a column; null: ones
  bool project_mean = false;     // take each row's mean away after the gain
};
inline constexpr int kMostRows = 256;

// Which of the sides that a plan was made of multiply: A^T B, A the query side.
struct HeadPair {
  int query = 0;
  int key = 0;
};

}  // namespace ullage::cuda
