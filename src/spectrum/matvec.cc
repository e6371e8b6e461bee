#include "spectrum/matvec.h"

#include "spectrum/widen.h"

namespace ullage::spectrum {

namespace {

template <class T, int kBlock>
void multiply(const T* rows, std::ptrdiff_t stride, int count, int width, const float* x,
              float* y) {
  // Sixteen partial sums a vector: short sums, and loops that vectorise without reordering.
  constexpr int kLanes = 16;
  for (int r = 0; r < count; ++r) {
    const T* row = rows + r * stride;
    for (int v = 0; v < kBlock; ++v) {
      const float* vector = x + static_cast<std::ptrdiff_t>(v) * width;
      float sums[kLanes] = {};
      int c = 0;
      for (; c + kLanes <= width; c += kLanes) {
        for (int lane = 0; lane < kLanes; ++lane) {
          sums[lane] += widen(row[c + lane]) * vector[c + lane];
        }
      }
      for (; c < width; ++c) sums[c % kLanes] += widen(row[c]) * vector[c];
      float sum = 0.0F;
      for (const float lane : sums) sum += lane;
      y[r * kBlock + v] = sum;
    }
  }
}

template <class T, int kBlock>
void add_transposed(const T* rows, std::ptrdiff_t stride, int count, int width, const float* y,
                    float* out) {
  for (int v = 0; v < kBlock; ++v) {
    float* target = out + static_cast<std::ptrdiff_t>(v) * width;
    for (int r = 0; r < count; ++r) {
      const T* row = rows + r * stride;
      const float factor = y[r * kBlock + v];
      for (int c = 0; c < width; ++c) target[c] += widen(row[c]) * factor;
    }
  }
}

template <class T>
constexpr MatvecKernels<T> kPortable = {
    {multiply<T, 1>, multiply<T, kMatvecBlock>},
    {add_transposed<T, 1>, add_transposed<T, kMatvecBlock>},
};

const MatvecTable& table() {
  switch (cpu_path()) {
    case CpuPath::portable:
      return kPortableMatvec;
    case CpuPath::avx2:
      return kAvx2Matvec;
    case CpuPath::avx512:
    case CpuPath::avx512_bf16:
      return kAvx512Matvec;
  }
  return kPortableMatvec;
}

// body(kernels of the rows' element type, values)
template <class Body>
void with_kernels(const HeadRows& rows, Body body) {
  switch (rows.element) {
    case Element::bf16:
      return body(table().bf16, static_cast<const std::uint16_t*>(rows.values));
    case Element::f32:
      return body(table().f32, static_cast<const float*>(rows.values));
    case Element::f64:
      return body(table().f64, static_cast<const double*>(rows.values));
  }
}

}  // namespace

const MatvecTable kPortableMatvec = {kPortable<std::uint16_t>, kPortable<float>, kPortable<double>};

void multiply_rows(const HeadRows& rows, const float* x, int block, float* y) {
  with_kernels(rows, [&](const auto& kernels, const auto* values) {
    kernels.multiply[block == 1 ? 0 : 1](values, rows.stride, rows.rows, rows.width, x, y);
  });
}

void multiply_rows_bf16(const HeadRows& rows, const float* x, float* y) {
  const bool paired = cpu_path() == CpuPath::avx512_bf16 && rows.element == Element::bf16;
  if (!paired) return multiply_rows(rows, x, kMatvecBlock, y);
  paired_multiply(static_cast<const std::uint16_t*>(rows.values), rows.stride, rows.rows,
                  rows.width, x, y);
}

void add_transposed_rows(const HeadRows& rows, const float* y, int block, float* out) {
  with_kernels(rows, [&](const auto& kernels, const auto* values) {
    kernels.add_transposed[block == 1 ? 0 : 1](values, rows.stride, rows.rows, rows.width, y, out);
  });
}

}  // namespace ullage::spectrum
