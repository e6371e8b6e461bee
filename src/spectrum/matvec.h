// Products of a head's rows with a few vectors, as stored (no gain, no projection), FP32 sums.
//
// Vectors of the rows' width lie one after another, [vector][column]; results of the rows' count lie [row][vector].
#pragma once

#include "ullage/base/cpu.h"
#include "ullage/spectrum/gram.h"

namespace ullage::spectrum {

inline constexpr int kMatvecBlock = 8;

// y[r * block + v] = sum over columns of W[r][c] x[v * width + c], block 1 or kMatvecBlock.
void multiply_rows(const HeadRows& rows, const float* x, int block, float* y);

// multiply_rows with kMatvecBlock vectors whose entries are numbers of BF16, which some CPUs multiply faster.
void multiply_rows_bf16(const HeadRows& rows, const float* x, float* y);

// out[v * width + c] += sum over rows of W[r][c] y[r * block + v].
void add_transposed_rows(const HeadRows& rows, const float* y, int block, float* out);

// One CPU path's loops over one element type.
template <class T>
struct MatvecKernels {
  void (*multiply[2])(const T* rows, std::ptrdiff_t stride, int count, int width, const float* x,
                      float* y);  // blocks 1 and kMatvecBlock
  void (*add_transposed[2])(const T* rows, std::ptrdiff_t stride, int count, int width,
                            const float* y, float* out);
};

// multiply_rows_bf16 on AVX512-BF16.
void paired_multiply(const std::uint16_t* rows, std::ptrdiff_t stride, int count, int width,
                     const float* x, float* y);

struct MatvecTable {
  MatvecKernels<std::uint16_t> bf16;
  MatvecKernels<float> f32;
  MatvecKernels<double> f64;
};

extern const MatvecTable kPortableMatvec;
extern const MatvecTable kAvx2Matvec;
extern const MatvecTable kAvx512Matvec;

}  // namespace ullage::spectrum
