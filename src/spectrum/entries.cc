#include "spectrum/entries.h"

#include <cmath>

#include "spectrum/vector_body.h"
#include "ullage/base/cpu.h"

namespace ullage::spectrum {

namespace {

template <int kBytes>
ULLAGE_BODY double largest(const double* x, std::size_t count, bool& finite) {
  using V = typename VectorOf<double, kBytes>::type;
  constexpr std::size_t kLanes = VectorOf<double, kBytes>::kLanes;
  // A maximum would lose a NaN; a number less itself is zero unless it is NaN or infinite.
  V most[2] = {}, rest[2] = {};
  std::size_t i = 0;
  for (; i + 2 * kLanes <= count; i += 2 * kLanes) {
#pragma GCC unroll 2
    for (std::size_t v = 0; v < 2; ++v) {
      const V value = *reinterpret_cast<const V*>(x + i + v * kLanes);
      const V magnitude = value < 0.0 ? -value : value;
      most[v] = most[v] < magnitude ? magnitude : most[v];
      rest[v] += value - value;
    }
  }
  double found = 0.0;
  finite = true;
  const auto take = [&](double magnitude, double difference) {
    found = found < magnitude ? magnitude : found;
    finite = finite && difference == 0.0;
  };
  for (std::size_t k = 0; k < kLanes; ++k) {
    take(most[0][k], rest[0][k]);
    take(most[1][k], rest[1][k]);
  }
  for (; i < count; ++i) take(std::abs(x[i]), x[i] - x[i]);
  return found;
}

template <int kBytes>
ULLAGE_BODY void scale(const double* from, double factor, const double* columns, double* to,
                       std::size_t count) {
  using V = typename VectorOf<double, kBytes>::type;
  constexpr std::size_t kLanes = VectorOf<double, kBytes>::kLanes;
  std::size_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    V value = *reinterpret_cast<const V*>(from + i) * factor;
    if (columns != nullptr) value *= *reinterpret_cast<const V*>(columns + i);
    *reinterpret_cast<V*>(to + i) = value;
  }
  for (; i < count; ++i) {
    const double value = from[i] * factor;
    to[i] = columns != nullptr ? value * columns[i] : value;
  }
}

template <int kBytes>
ULLAGE_BODY void narrow(const double* from, double factor, float* to, std::size_t count) {
  using V = typename VectorOf<double, kBytes>::type;
  using Half = typename VectorOf<float, kBytes / 2>::type;
  constexpr std::size_t kLanes = VectorOf<double, kBytes>::kLanes;
  std::size_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    const V value = *reinterpret_cast<const V*>(from + i) * factor * factor;
    *reinterpret_cast<Half*>(to + i) = __builtin_convertvector(value, Half);
  }
  for (; i < count; ++i) to[i] = static_cast<float>(from[i] * factor * factor);
}

#define ULLAGE_ENTRIES_PATH(name, attribute, bytes)                                               \
  attribute double name##_largest(const double* x, std::size_t count, bool& finite) {             \
    return largest<bytes>(x, count, finite);                                                      \
  }                                                                                               \
  attribute void name##_scale(const double* from, double factor, const double* columns,           \
                              double* to, std::size_t count) {                                    \
    scale<bytes>(from, factor, columns, to, count);                                               \
  }                                                                                               \
  attribute void name##_narrow(const double* from, double factor, float* to, std::size_t count) { \
    narrow<bytes>(from, factor, to, count);                                                       \
  }                                                                                               \
  constexpr EntryKernels k_##name = {name##_largest, name##_scale, name##_narrow};

ULLAGE_ENTRIES_PATH(portable, , 16)
ULLAGE_ENTRIES_PATH(avx2, ULLAGE_TARGET_AVX2, 32)
ULLAGE_ENTRIES_PATH(avx512, ULLAGE_TARGET_AVX512, 64)

#undef ULLAGE_ENTRIES_PATH

}  // namespace

const EntryKernels& entry_kernels() {
  switch (cpu_path()) {
    case CpuPath::portable:
      return k_portable;
    case CpuPath::avx2:
      return k_avx2;
    case CpuPath::avx512:
    case CpuPath::avx512_bf16:
      return k_avx512;
  }
  return k_portable;
}

}  // namespace ullage::spectrum
