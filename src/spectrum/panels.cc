#include "ullage/spectrum/panels.h"

#include <algorithm>
#include <cmath>
#include <type_traits>

#include "spectrum/entries.h"
#include "spectrum/panel_bodies.h"
#include "ullage/base/cpu.h"

namespace ullage::spectrum {

namespace {

constexpr int kRows = 8;
constexpr int kColumns = 16;

template <bool kSubtract>
void portable_tile(const double* a, std::ptrdiff_t stride_a, const double* b,
                   std::ptrdiff_t stride_b, int depth, double* c,
                   std::ptrdiff_t stride_c) noexcept {
  for (int k = 0; k < depth; ++k) {
    for (int i = 0; i < kRows; ++i) {
      const double left = kSubtract ? -a[i] : a[i];
      for (int j = 0; j < kColumns; ++j) c[i * stride_c + j] += left * b[j];
    }
    a += stride_a;
    b += stride_b;
  }
}

void portable_reflect(double* a, std::ptrdiff_t stride, int first, int n, const double* v,
                      const double* w, const double* next, double* p) noexcept {
  for (int i = first; i < n; ++i) {
    double* row = a + i * stride;
    const int block = i / 8 * 8;
    double sum = 0.0;
    for (int j = block; j < n; ++j) {
      row[j] -= v[i] * w[j] + w[i] * v[j];
      sum += row[j] * next[j];
    }
    for (int j = block + 8; j < n; ++j) p[j] += row[j] * next[i];
    p[i] += sum;
  }
}

void portable_sturm(const double* diagonal, const double* off_squares, int n, const double* x,
                    double* below) noexcept {
  for (int i = 0; i < kSturmLanes; ++i) {
    double before = 1.0;
    double current = diagonal[0] - x[i];
    int count = current < 0.0 ? 1 : 0;
    for (int k = 1; k < n; ++k) {
      const double next = (diagonal[k] - x[i]) * current - off_squares[k - 1] * before;
      if ((next < 0.0) != (current < 0.0)) ++count;
      before = current;
      current = next;
      if (k % 8 == 0) {
        const double unit = 1.0 / std::max(std::abs(before), std::abs(current));
        before *= unit;
        current *= unit;
      }
    }
    below[i] = count;
  }
}

template <class T>
const TileKernels<T>& tile_kernels();
template <>
const TileKernels<double>& tile_kernels<double>() {
  return panel_kernels().tiles;
}
template <>
const TileKernels<float>& tile_kernels<float>() {
  return *panel_kernels().single_tiles;
}

// Rows k0 .. k0 + 7 of y from column `first` on: the forward substitution with the 8 x 8 triangle of R there.
template <class T>
void solve_block(const SquareOf<T>& r, int k0, T* y, std::ptrdiff_t stride, int first, int last) {
  tile_kernels<T>().solve(r.row(k0) + k0, r.stride(), y + k0 * stride + first, stride,
                          last - first);
}

}  // namespace

const PanelKernels kPanelsPortable = {
    {portable_tile<false>, portable_tile<true>, solve_portable<double>},
    &kSingleTilesPortable,
    portable_reflect,
    portable_sturm,
    single_sturm_portable};

const PanelKernels& panel_kernels() {
  switch (cpu_path()) {
    case CpuPath::portable:
      return kPanelsPortable;
    case CpuPath::avx2:
      return kPanelsAvx2;
    default:
      return kPanelsAvx512;
  }
}

template <class T>
SquareOf<T>::SquareOf(int size, Unwritten /*tag*/)
    : size_(size),
      extent_((size + 15) / 16 * 16),
      values_(static_cast<std::size_t>(extent_) * static_cast<std::size_t>(stride())) {
  for (int i = 0; i < extent_; ++i) {
    const int written = i < size_ ? size_ : 0;
    std::fill(row(i) + written, row(i) + stride(), T(0));
  }
}

template <class T>
SquareOf<T>::SquareOf(const Matrix& m) : SquareOf(m.rows(), kUnwritten) {
  for (int i = 0; i < size_; ++i) {
    if constexpr (std::is_same_v<T, float>) {
      entry_kernels().narrow(m.row(i).data(), 1.0, row(i), static_cast<std::size_t>(size_));
    } else {
      std::copy_n(m.row(i).data(), size_, row(i));
    }
  }
}

template <class T>
bool factor(SquareOf<T>& w) {
  const TileKernel<T> subtract = tile_kernels<T>().subtract;
  const int n = w.extent();
  const std::ptrdiff_t stride = w.stride();
  for (int i = w.size(); i < n; ++i) w(i, i) = T(1);
  for (int k0 = 0; k0 < n; k0 += kRows) {
    // Tiles start on multiples of 16: what lies left of the diagonal is scratch.
    for (int j = k0 / kColumns * kColumns; j < n; j += kColumns) {
      subtract(w.row(0) + k0, stride, w.row(0) + j, stride, k0, w.row(k0) + j, stride);
    }
    for (int i = k0; i < k0 + kRows; ++i) {
      const T pivot = w(i, i);
      if (!(pivot > T(0)) || !std::isfinite(pivot)) return false;
      const T root = std::sqrt(pivot);
      const T inverse = T(1) / root;
      w(i, i) = root;
      for (int j = i + 1; j < k0 + kRows; ++j) w(i, j) *= inverse;
      for (int m = i + 1; m < k0 + kRows; ++m) {
        for (int j = m; j < k0 + kRows; ++j) w(m, j) -= w(i, m) * w(i, j);
      }
    }
    solve_block(w, k0, w.row(0), stride, k0 + kRows, n);
  }
  return true;
}

template <class T>
void solve_transposed(const SquareOf<T>& r, SquareOf<T>& y) {
  const TileKernel<T> subtract = tile_kernels<T>().subtract;
  const int n = r.extent();
  const std::ptrdiff_t stride = r.stride();
  for (int k0 = 0; k0 < n; k0 += kRows) {
    for (int j = 0; j < n; j += kColumns) {
      subtract(r.row(0) + k0, stride, y.row(0) + j, stride, k0, y.row(k0) + j, stride);
    }
    solve_block(r, k0, y.row(0), stride, 0, n);
  }
}

template <class T>
void solve_transposed(const SquareOf<T>& r, std::span<double> y) {
  for (std::size_t k = 0; k < y.size(); ++k) {
    const T* row = r.row(static_cast<int>(k));
    y[k] /= static_cast<double>(row[k]);
    for (std::size_t j = k + 1; j < y.size(); ++j) y[j] -= static_cast<double>(row[j]) * y[k];
  }
}

template <class T>
SquareOf<T> transposed(const SquareOf<T>& a) {
  SquareOf<T> out(a.size(), kUnwritten);
  const int n = a.extent();
  for (int i = 0; i < n; i += 8) {
    for (int j = 0; j < n; ++j) {
      for (int k = i; k < i + 8; ++k) out(j, k) = a(k, j);
    }
  }
  return out;
}

template <class T>
SquareOf<T> transposed_product(const SquareOf<T>& a, Shape shape_a, const SquareOf<T>& b,
                               Shape shape_b) {
  const TileKernel<T> add = tile_kernels<T>().add;
  SquareOf<T> out(a.size());
  const int n = a.extent();
  const std::ptrdiff_t stride = a.stride();
  for (int i = 0; i < n; i += kRows) {
    for (int j = 0; j < n; j += kColumns) {
      const int first = std::max(shape_a == Shape::lower ? i : 0, shape_b == Shape::lower ? j : 0);
      add(a.row(first) + i, stride, b.row(first) + j, stride, n - first, out.row(i) + j, stride);
    }
  }
  return out;
}

template <class T>
SquareOf<T> symmetric_product(const SquareOf<T>& a, Shape shape_a, const SquareOf<T>& b) {
  const TileKernel<T> add = tile_kernels<T>().add;
  SquareOf<T> out(a.size());
  const int n = a.extent();
  const std::ptrdiff_t stride = a.stride();
  for (int i = 0; i < n; i += kRows) {
    for (int j = i / kColumns * kColumns; j < n; j += kColumns) {
      const int first = shape_a == Shape::lower ? i : 0;
      add(a.row(first) + i, stride, b.row(first) + j, stride, n - first, out.row(i) + j, stride);
    }
  }
  // The lower triangle by blocks, so that columns are read while their lines are in cache.
  for (int i = 0; i < n; i += kRows) {
    for (int j = 0; j < i + kRows; j += kRows) {
      for (int row = i; row < i + kRows; ++row) {
        const int last = std::min(j + kRows, row);
        for (int column = j; column < last; ++column) out(row, column) = out(column, row);
      }
    }
  }
  return out;
}

#define ULLAGE_PANELS(T)                                                                         \
  template class SquareOf<T>;                                                                    \
  template bool factor(SquareOf<T>&);                                                            \
  template void solve_transposed(const SquareOf<T>&, SquareOf<T>&);                              \
  template void solve_transposed(const SquareOf<T>&, std::span<double>);                         \
  template SquareOf<T> transposed(const SquareOf<T>&);                                           \
  template SquareOf<T> transposed_product(const SquareOf<T>&, Shape, const SquareOf<T>&, Shape); \
  template SquareOf<T> symmetric_product(const SquareOf<T>&, Shape, const SquareOf<T>&);

ULLAGE_PANELS(double)
ULLAGE_PANELS(float)

#undef ULLAGE_PANELS

}  // namespace ullage::spectrum
