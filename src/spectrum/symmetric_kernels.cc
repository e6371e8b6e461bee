#include "spectrum/symmetric_kernels.h"

#include "spectrum/vector_body.h"
#include "ullage/base/cpu.h"

namespace ullage::spectrum {

namespace {

// kVectors vectors of columns; kParities sums for each, so that additions need not wait for each other.
template <class T, int kBytes, int kVectors, int kParities>
ULLAGE_BODY void columns(const T* m, std::ptrdiff_t stride, int size, const T* x, T* y) {
  using V = typename VectorOf<T, kBytes>::type;
  constexpr int kLanes = VectorOf<T, kBytes>::kLanes;
  V sums[kParities][kVectors] = {};
  int i = 0;
  for (; i + kParities <= size; i += kParities) {
#pragma GCC unroll 8
    for (int p = 0; p < kParities; ++p) {
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) {
        sums[p][v] += *reinterpret_cast<const V*>(m + (i + p) * stride + v * kLanes) * x[i + p];
      }
    }
  }
  for (; i < size; ++i) {
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      sums[0][v] += *reinterpret_cast<const V*>(m + i * stride + v * kLanes) * x[i];
    }
  }
#pragma GCC unroll 8
  for (int v = 0; v < kVectors; ++v) {
#pragma GCC unroll 8
    for (int p = 1; p < kParities; ++p) sums[0][v] += sums[p][v];
    *reinterpret_cast<V*>(y + v * kLanes) = sums[0][v];
  }
}

template <class T, int kBytes>
ULLAGE_BODY void multiply(const T* m, std::ptrdiff_t stride, int size, const T* x, T* y) {
  constexpr int kLanes = VectorOf<T, kBytes>::kLanes;
  const int width = padded_lanes(size);
  int c = 0;
  // Whole rows where registers allow: they are read as they lie.
  if constexpr (kBytes == 64) {
    for (; c + 8 * kLanes <= width; c += 8 * kLanes) {
      columns<T, kBytes, 8, 2>(m + c, stride, size, x, y + c);
    }
  }
  for (; c + 4 * kLanes <= width; c += 4 * kLanes) {
    columns<T, kBytes, 4, 2>(m + c, stride, size, x, y + c);
  }
  for (; c < width; c += kLanes) columns<T, kBytes, 1, 8>(m + c, stride, size, x, y + c);
}

// All eight vectors of x against kVectors vectors of columns.
template <class T, int kBytes, int kVectors>
ULLAGE_BODY void block_columns(const T* m, std::ptrdiff_t stride, int size, const T* x, T* y) {
  using V = typename VectorOf<T, kBytes>::type;
  constexpr int kLanes = VectorOf<T, kBytes>::kLanes;
  const int width = padded_lanes(size);
  V sums[kSymmetricBlock][kVectors] = {};
  for (int i = 0; i < size; ++i) {
    V row[kVectors];
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      row[v] = *reinterpret_cast<const V*>(m + i * stride + v * kLanes);
    }
#pragma GCC unroll 8
    for (int b = 0; b < kSymmetricBlock; ++b) {
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) sums[b][v] += row[v] * x[b * width + i];
    }
  }
#pragma GCC unroll 8
  for (int b = 0; b < kSymmetricBlock; ++b) {
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      *reinterpret_cast<V*>(y + b * width + v * kLanes) = sums[b][v];
    }
  }
}

// kVectors x 8 sums, as many as the path has registers for.
template <class T, int kBytes, int kVectors>
ULLAGE_BODY void multiply_block(const T* m, std::ptrdiff_t stride, int size, const T* x, T* y) {
  constexpr int kLanes = VectorOf<T, kBytes>::kLanes;
  const int width = padded_lanes(size);
  int c = 0;
  for (; c + kVectors * kLanes <= width; c += kVectors * kLanes) {
    block_columns<T, kBytes, kVectors>(m + c, stride, size, x, y + c);
  }
  for (; c < width; c += kLanes) block_columns<T, kBytes, 1>(m + c, stride, size, x, y + c);
}

template <class T, int kBytes>
ULLAGE_BODY T dot(const T* x, const T* y, std::size_t padded) {
  using V = typename VectorOf<T, kBytes>::type;
  constexpr int kLanes = VectorOf<T, kBytes>::kLanes;
  constexpr int kVectors = kSymmetricLanes / kLanes;
  V sums[kVectors] = {};
  for (std::size_t i = 0; i < padded; i += kSymmetricLanes) {
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      sums[v] += *reinterpret_cast<const V*>(x + i + v * kLanes) *
                 *reinterpret_cast<const V*>(y + i + v * kLanes);
    }
  }
  T lanes[kSymmetricLanes];
  for (int v = 0; v < kVectors; ++v) *reinterpret_cast<V*>(lanes + v * kLanes) = sums[v];
#pragma GCC unroll 4
  for (int half = kSymmetricLanes / 2; half > 0; half /= 2) {
    for (int k = 0; k < half; ++k) lanes[k] += lanes[k + half];
  }
  return lanes[0];
}

template <class T, int kBytes>
ULLAGE_BODY void take_away(T* next, T alpha, const T* current, T beta, const T* before,
                           std::size_t padded) {
  using V = typename VectorOf<T, kBytes>::type;
  for (std::size_t i = 0; i < padded; i += VectorOf<T, kBytes>::kLanes) {
    V left = *reinterpret_cast<const V*>(next + i);
    left -= *reinterpret_cast<const V*>(current + i) * alpha;
    left -= *reinterpret_cast<const V*>(before + i) * beta;
    *reinterpret_cast<V*>(next + i) = left;
  }
}

#define ULLAGE_SYMMETRIC_PATH(name, attribute, bytes, vectors)                                    \
  template <class T>                                                                              \
  attribute void name##_multiply(const T* m, std::ptrdiff_t stride, int size, const T* x, T* y) { \
    multiply<T, bytes>(m, stride, size, x, y);                                                    \
  }                                                                                               \
  template <class T>                                                                              \
  attribute void name##_block(const T* m, std::ptrdiff_t stride, int size, const T* x, T* y) {    \
    multiply_block<T, bytes, vectors>(m, stride, size, x, y);                                     \
  }                                                                                               \
  template <class T>                                                                              \
  attribute T name##_dot(const T* x, const T* y, std::size_t padded) {                            \
    return dot<T, bytes>(x, y, padded);                                                           \
  }                                                                                               \
  template <class T>                                                                              \
  attribute void name##_take_away(T* next, T alpha, const T* current, T beta, const T* before,    \
                                  std::size_t padded) {                                           \
    take_away<T, bytes>(next, alpha, current, beta, before, padded);                              \
  }                                                                                               \
  template <class T>                                                                              \
  constexpr SymmetricKernels<T> k_##name = {name##_multiply<T>, name##_block<T>, name##_dot<T>,   \
                                            name##_take_away<T>};

ULLAGE_SYMMETRIC_PATH(portable, , 16, 1)
ULLAGE_SYMMETRIC_PATH(avx2, ULLAGE_TARGET_AVX2, 32, 1)
ULLAGE_SYMMETRIC_PATH(avx512, ULLAGE_TARGET_AVX512, 64, 2)

#undef ULLAGE_SYMMETRIC_PATH

}  // namespace

template <class T>
const SymmetricKernels<T>& symmetric_kernels() {
  switch (cpu_path()) {
    case CpuPath::portable:
      return k_portable<T>;
    case CpuPath::avx2:
      return k_avx2<T>;
    case CpuPath::avx512:
    case CpuPath::avx512_bf16:
      return k_avx512<T>;
  }
  return k_portable<T>;
}

template const SymmetricKernels<float>& symmetric_kernels<float>();
template const SymmetricKernels<double>& symmetric_kernels<double>();

}  // namespace ullage::spectrum
