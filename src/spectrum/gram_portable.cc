// Gram kernels in plain C++, for CPUs without AVX2 and as the definition that others are tested against.
#include <cstdint>

#include "spectrum/gram_kernels.h"
#include "spectrum/widen.h"

namespace ullage::spectrum {

namespace {

template <class T>
void pack(const Block<T>& block, float* panel, int stride) {
  const int padded = padded_rows(block.rows);
  for (int c = 0; c < kPanelColumns; ++c) {
    for (int r = 0; r < padded; ++r) panel[c * stride + r] = 0.0F;
  }
  for (int r = 0; r < block.rows; ++r) {
    const T* row = block.values + r * block.stride;
    for (int c = 0; c < block.columns; ++c) {
      panel[c * stride + r] = widen(row[c]) * block.gain[c] - block.minus[r];
    }
  }
}

// Tiles of 4 x 8 sums, which compilers keep in SSE2's registers.
template <class T>
void product(const T* a, int stride_a, int rows_a, const T* b, int stride_b, int rows_b,
             int columns, Part part, Sums keep, double* out) {
  const int out_stride = padded_rows(rows_b);
  for (int j = 0; j < out_stride; j += 8) {
    const int last = part == Part::all ? padded_rows(rows_a) : j + 8;
    for (int i = 0; i < last; i += 4) {
      T sums[4][8] = {};
      for (int c = 0; c < columns; ++c) {
        const T* left = a + c * stride_a + i;
        const T* right = b + c * stride_b + j;
        for (int y = 0; y < 4; ++y) {
          for (int x = 0; x < 8; ++x) sums[y][x] += left[y] * right[x];
        }
      }
      for (int y = 0; y < 4; ++y) {
        for (int x = 0; x < 8; ++x) {
          double& place = out[(i + y) * out_stride + j + x];
          const auto sum = static_cast<double>(sums[y][x]);
          place = keep == Sums::first ? sum : place + sum;
        }
      }
    }
  }
}

template <class T>
double square_sum(const T* row, int columns, const float* gain, float minus) {
  double sum = 0.0;
  for (int c = 0; c < columns; ++c) {
    const float x = widen(row[c]) * gain[c] - minus;
    sum += static_cast<double>(x) * static_cast<double>(x);
  }
  return sum;
}

template <class T>
double sum(const T* row, int columns, const float* gain) {
  double total = 0.0;
  for (int c = 0; c < columns; ++c) total += static_cast<double>(widen(row[c]) * gain[c]);
  return total;
}

}  // namespace

const GramKernels kPortableGram = {
    .pack_bf16 = pack<std::uint16_t>,
    .pack_f32 = pack<float>,
    .product_f32 = product<float>,
    .product_f64 = product<double>,
    .square_sum_bf16 = square_sum<std::uint16_t>,
    .square_sum_f32 = square_sum<float>,
    .sum_bf16 = sum<std::uint16_t>,
    .sum_f32 = sum<float>,
};

const GramKernels& gram_kernels(CpuPath path) {
  switch (path) {
    case CpuPath::portable:
      return kPortableGram;
    case CpuPath::avx2:
      return kAvx2Gram;
    case CpuPath::avx512:
      return kAvx512Gram;
    case CpuPath::avx512_bf16:
      return bf16_gram();
  }
  return kPortableGram;
}

}  // namespace ullage::spectrum
