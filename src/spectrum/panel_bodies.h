// Parts of the tables of panels.h that have one body for all CPU paths.
#pragma once

#include <cstddef>

#include "ullage/spectrum/panels.h"

namespace ullage::spectrum {

template <class T>
void solve_portable(const T* r, std::ptrdiff_t stride_r, T* y, std::ptrdiff_t stride_y,
                    int columns) noexcept;
template <class T>
void solve_avx2(const T* r, std::ptrdiff_t stride_r, T* y, std::ptrdiff_t stride_y,
                int columns) noexcept;
template <class T>
void solve_avx512(const T* r, std::ptrdiff_t stride_r, T* y, std::ptrdiff_t stride_y,
                  int columns) noexcept;

void single_sturm_portable(const float* diagonal, const float* off_squares, int n, const float* x,
                           float* below) noexcept;
void single_sturm_avx2(const float* diagonal, const float* off_squares, int n, const float* x,
                       float* below) noexcept;
void single_sturm_avx512(const float* diagonal, const float* off_squares, int n, const float* x,
                         float* below) noexcept;

extern const TileKernels<float> kSingleTilesPortable;
extern const TileKernels<float> kSingleTilesAvx2;
extern const TileKernels<float> kSingleTilesAvx512;

}  // namespace ullage::spectrum
