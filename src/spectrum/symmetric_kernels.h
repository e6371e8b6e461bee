// A small symmetric matrix times one vector, or times eight at once: what Lanczos' recurrence and subspace iteration do.
//
// Rows are padded with zeros to a multiple of kSymmetricLanes, and so are the vectors. A column's sum runs over the rows
// in a fixed order on each CPU path.
#pragma once

#include <cstddef>

#include "ullage/base/multiple.h"

namespace ullage::spectrum {

inline constexpr int kSymmetricLanes = 16;
inline constexpr int kSymmetricBlock = 8;
inline constexpr int padded_lanes(int size) { return rounded_up(size, kSymmetricLanes); }

template <class T>
struct SymmetricKernels {
  // y = m x over `size` rows of m (`stride` apart) and padded_lanes(size) columns.
  void (*multiply)(const T* m, std::ptrdiff_t stride, int size, const T* x, T* y);
  // The same for kSymmetricBlock vectors, padded_lanes(size) apart.
  void (*multiply_block)(const T* m, std::ptrdiff_t stride, int size, const T* x, T* y);
  // x^T y over `padded` entries, a multiple of kSymmetricLanes.
  T (*dot)(const T* x, const T* y, std::size_t padded);
  // next -= alpha current + beta before.
  void (*take_away)(T* next, T alpha, const T* current, T beta, const T* before,
                    std::size_t padded);
};

// Of the CPU path in use.
template <class T>
const SymmetricKernels<T>& symmetric_kernels();

}  // namespace ullage::spectrum
