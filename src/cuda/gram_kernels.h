// The launches behind Grams. Each takes device arrays and a stream, and leaves CUDA's launch error to check_launch.
#pragma once

#include <driver_types.h>

#include "cuda/side.h"

namespace ullage::cuda {

// Columns that one FP32 sum of the tensor cores runs over.
inline constexpr int kPanelColumns = 64;
// How far such a sum may be off, a product, relative to the sum of magnitudes (docs/cuda.md).
inline constexpr double kTensorUnit = 0x1p-22;

constexpr bool folds(const DeviceRows& rows) { return rows.gain != nullptr || rows.project_mean; }

// What the fast Gram of these rows may be off by, given the root of its trace.
constexpr spectrum::GramErrors fast_errors(const DeviceRows& rows, double root_trace) {
  const int panels = (rows.width + kPanelColumns - 1) / kPanelColumns;
  spectrum::GramErrors errors;
  // A panel's products; smaller pieces enter first and add 2^-6 of it, and the six products leave out 2^-26.
  errors.sum_unit =
      (kPanelColumns + 4) * kTensorUnit * (1.0 + 0x1p-6) + 0x1p-26 + (panels + 4) * spectrum::kU64;
  // The gain's rounding to FP32, the product's, and that of the mean's subtraction.
  errors.fold_unit = folds(rows) ? 3.0 * spectrum::kU32 : 0.0;
  errors.floor = rows.width * spectrum::kUnderflow * (1.0 + root_trace);
  return errors;
}
// The same of the FP64 Gram: one running sum, two roundings an entry.
constexpr spectrum::GramErrors precise_errors(const DeviceRows& rows) {
  spectrum::GramErrors errors;
  errors.sum_unit = (rows.width + 4) * spectrum::kU64;
  errors.fold_unit = folds(rows) ? 4.0 * spectrum::kU64 : 0.0;
  errors.floor = rows.width * 0x1p-1060;
  return errors;
}

// What the launches need to know of all sides.
struct Shape {
  int sides = 0;
  int rows = 0;  // of the largest
  bool any_mean = false;
};

cudaError_t launch_means(const Side* sides, const Shape& shape, cudaStream_t stream);
// Fast Grams of all sides but FP64 ones, whose states are not touched.
cudaError_t launch_fast_grams(const Side* sides, const Shape& shape, cudaStream_t stream);
// FP64 Grams of the sides whose state wants one.
cudaError_t launch_precise_grams(const Side* sides, const Shape& shape, cudaStream_t stream);

// A B^T of folded rows rounded to BF16; out[pair] is extent(query) x extent(key), row-major.
struct CrossTask {
  DeviceRows query, key;
  const float* query_means = nullptr;
  const float* key_means = nullptr;
  double* out = nullptr;
};
cudaError_t launch_cross_grams(const CrossTask* tasks, int count, int rows, cudaStream_t stream);

}  // namespace ullage::cuda
