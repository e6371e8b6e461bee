// Triangular factors and products of head_dim x head_dim in registers: what LAPACK does too slowly at this size.
//
// All of it is one kernel, C +- A^T B on tiles of 8 x 16, with one body a CPU path. Measured on Zen 4 at
// head_dim 128 against OpenBLAS 0.3.21: factor 93 -> 19 us, triangular solve 221 -> 38 us.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "ullage/spectrum/dense.h"

namespace ullage::spectrum {

// A square matrix padded with zeros to a multiple of 16, row-major. Rows are 8 apart beyond that, so that rows of a
// power of two do not alias in the cache.
class Square {
 public:
  Square() = default;
  explicit Square(int size)
      : size_(size),
        extent_((size + 15) / 16 * 16),
        values_(static_cast<std::size_t>(extent_) * static_cast<std::size_t>(stride()), 0.0) {}
  // Only the padding is zeros.
  Square(int size, Unwritten tag);
  explicit Square(const Matrix& m);

  [[nodiscard]] int size() const { return size_; }
  [[nodiscard]] int extent() const { return extent_; }  // with the padding
  [[nodiscard]] int stride() const { return extent_ + 8; }
  [[nodiscard]] double* row(int i) { return values_.data() + offset(i); }
  [[nodiscard]] const double* row(int i) const { return values_.data() + offset(i); }
  double& operator()(int i, int j) { return row(i)[j]; }
  double operator()(int i, int j) const { return row(i)[j]; }

 private:
  [[nodiscard]] std::size_t offset(int i) const {
    return static_cast<std::size_t>(i) * static_cast<std::size_t>(stride());
  }
  int size_ = 0;
  int extent_ = 0;
  std::vector<double, PooledAllocator<double>> values_;
};

// In place: the upper triangle of w becomes R with R^T R = w; below it is scratch. False where w is not positive
// definite to working precision. The padding must be that of a Square or the identity's.
bool factor(Square& w);

// y = R^-T y for an upper factor R.
void solve_transposed(const Square& r, Square& y);
void solve_transposed(const Square& r, std::span<double> y);

Square transposed(const Square& a);

// a^T b. Where `a` or `b` is lower triangular only rows from the diagonal on are read.
enum class Shape { full, lower };
Square transposed_product(const Square& a, Shape shape_a, const Square& b, Shape shape_b);
// The same where the result is symmetric: its upper tiles computed, then mirrored.
Square symmetric_product(const Square& a, Shape shape_a, const Square& b);

// 8 x 16 of c, c += a^T b or c -= a^T b over `depth` rows of a (8 wide) and b (16 wide); strides in doubles.
using TileKernel = void (*)(const double* a, std::ptrdiff_t stride_a, const double* b,
                            std::ptrdiff_t stride_b, int depth, double* c,
                            std::ptrdiff_t stride_c) noexcept;

// One step of a Householder reduction on blocks of 8, upper block triangle of a symmetric a, rows from `first` (a
// multiple of 8) to n: a -= v w^T + w v^T, and p += a next with the new a, in one pass.
using ReflectKernel = void (*)(double* a, std::ptrdiff_t stride, int first, int n, const double* v,
                               const double* w, const double* next, double* p) noexcept;

// below[i] = how many eigenvalues of a tridiagonal matrix lie below x[i], for kSturmLanes points. Entries of order
// one at most, no off-diagonal square smaller than 1e-32.
inline constexpr int kSturmLanes = 32;
using SturmKernel = void (*)(const double* diagonal, const double* off_squares, int n,
                             const double* x, double* below) noexcept;

// y = R^-T y for eight rows of y and the 8 x 8 upper triangle at r; `columns` a multiple of 8.
using SolveKernel = void (*)(const double* r, std::ptrdiff_t stride_r, double* y,
                             std::ptrdiff_t stride_y, int columns) noexcept;
void solve_portable(const double* r, std::ptrdiff_t stride_r, double* y, std::ptrdiff_t stride_y,
                    int columns) noexcept;
void solve_avx2(const double* r, std::ptrdiff_t stride_r, double* y, std::ptrdiff_t stride_y,
                int columns) noexcept;
void solve_avx512(const double* r, std::ptrdiff_t stride_r, double* y, std::ptrdiff_t stride_y,
                  int columns) noexcept;

struct PanelKernels {
  TileKernel add;
  TileKernel subtract;
  ReflectKernel reflect;
  SturmKernel sturm;
  SolveKernel solve;
};
extern const PanelKernels kPanelsPortable;
extern const PanelKernels kPanelsAvx2;
extern const PanelKernels kPanelsAvx512;
const PanelKernels& panel_kernels();  // by cpu_path()

}  // namespace ullage::spectrum
