// Triangular factors and products of head_dim x head_dim in registers: what LAPACK does too slowly at this size.
//
// All of it is one kernel, C +- A^T B on tiles of 8 x 16, with one body a CPU path. Measured on Zen 4 at
// head_dim 128 against OpenBLAS 0.3.21: factor 93 -> 19 us, triangular solve 221 -> 38 us.
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>
#include <vector>

#include "ullage/spectrum/dense.h"

namespace ullage::spectrum {

// A square matrix padded with zeros to a multiple of 16, row-major. Rows are 8 apart beyond that, so that rows of a
// power of two do not alias in the cache.
template <class T>
class SquareOf {
 public:
  SquareOf() = default;
  explicit SquareOf(int size) : SquareOf(size, kUnwritten) {
    std::fill(values_.begin(), values_.end(), T(0));
  }
  // Only the padding is zeros.
  SquareOf(int size, Unwritten tag);
  explicit SquareOf(const Matrix& m);

  [[nodiscard]] int size() const { return size_; }
  [[nodiscard]] int extent() const { return extent_; }  // with the padding
  [[nodiscard]] int stride() const { return extent_ + 8; }
  [[nodiscard]] T* row(int i) { return values_.data() + offset(i); }
  [[nodiscard]] const T* row(int i) const { return values_.data() + offset(i); }
  T& operator()(int i, int j) { return row(i)[j]; }
  T operator()(int i, int j) const { return row(i)[j]; }

 private:
  [[nodiscard]] std::size_t offset(int i) const {
    return static_cast<std::size_t>(i) * static_cast<std::size_t>(stride());
  }
  int size_ = 0;
  int extent_ = 0;
  std::vector<T, PooledAllocator<T>> values_;
};
using Square = SquareOf<double>;

// Estimates of matrices wider than this use FP32; up to it FP64 costs no more.
inline constexpr int kSingleFrom = 48;

// Each in FP64 and, for estimates, in FP32.

// In place: the upper triangle of w becomes R with R^T R = w; below it is scratch. False where w is not positive
// definite to working precision. The padding must be that of a Square or the identity's.
template <class T>
bool factor(SquareOf<T>& w);

// y = R^-T y for an upper factor R.
template <class T>
void solve_transposed(const SquareOf<T>& r, SquareOf<T>& y);
template <class T>
void solve_transposed(const SquareOf<T>& r, std::span<double> y);

template <class T>
SquareOf<T> transposed(const SquareOf<T>& a);

// a^T b. Where `a` or `b` is lower triangular only rows from the diagonal on are read.
enum class Shape { full, lower };
template <class T>
SquareOf<T> transposed_product(const SquareOf<T>& a, Shape shape_a, const SquareOf<T>& b,
                               Shape shape_b);
// The same where the result is symmetric: its upper tiles computed, then mirrored.
template <class T>
SquareOf<T> symmetric_product(const SquareOf<T>& a, Shape shape_a, const SquareOf<T>& b);

// 8 x 16 of c, c += a^T b or c -= a^T b over `depth` rows of a (8 wide) and b (16 wide); strides in entries.
template <class T>
using TileKernel = void (*)(const T* a, std::ptrdiff_t stride_a, const T* b,
                            std::ptrdiff_t stride_b, int depth, T* c,
                            std::ptrdiff_t stride_c) noexcept;

// One step of a Householder reduction on blocks of 8, upper block triangle of a symmetric a, rows from `first` (a
// multiple of 8) to n: a -= v w^T + w v^T, and p += a next with the new a, in one pass.
using ReflectKernel = void (*)(double* a, std::ptrdiff_t stride, int first, int n, const double* v,
                               const double* w, const double* next, double* p) noexcept;

// below[i] = how many eigenvalues of a tridiagonal matrix lie below x[i], for kSturmLanes points. Entries of order
// one at most, no off-diagonal square smaller than 1e-32, in FP32 1e-16.
inline constexpr int kSturmLanes = 32;
template <class T>
using SturmKernel = void (*)(const T* diagonal, const T* off_squares, int n, const T* x,
                             T* below) noexcept;

// y = R^-T y for eight rows of y and the 8 x 8 upper triangle at r; `columns` a multiple of 8.
template <class T>
using SolveKernel = void (*)(const T* r, std::ptrdiff_t stride_r, T* y, std::ptrdiff_t stride_y,
                             int columns) noexcept;

template <class T>
struct TileKernels {
  TileKernel<T> add;
  TileKernel<T> subtract;
  SolveKernel<T> solve;
};
struct PanelKernels {
  TileKernels<double> tiles;
  const TileKernels<float>* single_tiles;
  ReflectKernel reflect;
  SturmKernel<double> sturm;
  SturmKernel<float> single_sturm;
};
extern const PanelKernels kPanelsPortable;
extern const PanelKernels kPanelsAvx2;
extern const PanelKernels kPanelsAvx512;
const PanelKernels& panel_kernels();  // by cpu_path()

}  // namespace ullage::spectrum
