// A side as kernels see it: its rows, and where its Gram and what is known of it lie.
#pragma once

#include "ullage/cuda/rows.h"

namespace ullage::cuda {

// Grams are padded with zeros to a multiple of this: kernels have no tails.
inline constexpr int kExtentUnit = 16;
constexpr int extent_of(int rows) { return (rows + kExtentUnit - 1) / kExtentUnit * kExtentUnit; }

// What is known of a Gram G^: its trace, the inflation h (A A^T <= G^ + h I), and |A|_2.
struct SideState {
  double trace;
  double inflation;
  double estimate;
  double bound;
  int fits;     // the Gram resolves the side
  int finite;   // false: NaN or infinity among the weights or gains
  int precise;  // the Gram is FP64's
  int wanted;   // asked for in FP64
};

struct Side {
  DeviceRows rows;
  float* means = nullptr;  // with project_mean, one a row
  double* gram = nullptr;  // extent x extent, row-major
  SideState* state = nullptr;
};

}  // namespace ullage::cuda
