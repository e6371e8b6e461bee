// The loops under a Gram: packing rows into column panels, and products of panels summed into FP64.
//
// A panel holds a few columns of all rows of a head, [column][row], so that a product is a sum of outer products: one
// vector of rows j against broadcast rows i, no sum across a vector. FP32 sums live for one panel only. Each table is
// one CPU path; rows are padded with zeros to a multiple of kTile, so kernels have no row tails.
#pragma once

#include <cstddef>
#include <cstdint>

#include "ullage/base/cpu.h"
#include "ullage/base/multiple.h"

namespace ullage::spectrum {

inline constexpr int kTile = 16;
// FP32 sums are at most this many products long. Measured on Zen 4, 128 rows: 32 costs 15 % over 128, 64 costs 5 %.
inline constexpr int kPanelColumns = 64;
// BF16 products come two to an instruction: as many instructions between two FP64 additions as above.
inline constexpr int kPairPanelColumns = 128;

// Distance of two panel columns, in elements: off powers of two, so that a tile's columns spread over cache sets.
inline constexpr int padded_rows(int rows) { return rounded_up(rows, kTile); }
inline constexpr int panel_stride(int rows) { return padded_rows(rows) + kTile; }

// `columns` (at most a panel's) columns of `rows` rows; the rest of the panel is written as zeros.
template <class T>
struct Block {
  const T* values;
  std::ptrdiff_t stride;
  int rows;
  int columns;
  const float* gain;   // one a column
  const float* minus;  // one a row, padded_rows long: taken away after the gain
};

enum class Part : std::uint8_t { all, upper };  // upper: tiles on and above the diagonal

enum class Sums : std::uint8_t { first, more };  // of the panels of a product

struct GramKernels {
  // panel[c * stride + r] = value * gain - minus, one rounding each or fused.
  void (*pack_bf16)(const Block<std::uint16_t>& block, float* panel, int stride);
  void (*pack_f32)(const Block<float>& block, float* panel, int stride);
  // out[i * padded_rows(rows_b) + j] += sum over columns of a's row i times b's row j; with Sums::first whatever out holds
  // is replaced.
  void (*product_f32)(const float* a, int stride_a, int rows_a, const float* b, int stride_b,
                      int rows_b, int columns, Part part, Sums sums, double* out);
  void (*product_f64)(const double* a, int stride_a, int rows_a, const double* b, int stride_b,
                      int rows_b, int columns, Part part, Sums sums, double* out);
  // BF16 pairs, two neighbouring columns in one 32-bit element; null where the CPU has no BF16 product.
  void (*pack_pairs)(const Block<std::uint16_t>& block, std::uint32_t* panel,
                     int stride) = nullptr;  // gain, minus ignored
  // panel[c * stride + r] = value * gain - minus from pairs of the same stride.
  void (*fold_pairs)(const std::uint32_t* pairs, int rows, int stride, int columns,
                     const float* gain, const float* minus, float* panel) = nullptr;
  // Columns of a panel times `gain`, each entry rounded to BF16.
  void (*pairs_of_f32)(const float* panel, int stride, int rows, const float* gain,
                       std::uint32_t* pairs, int columns) = nullptr;
  void (*product_pairs)(const std::uint32_t* a, int stride_a, int rows_a, const std::uint32_t* b,
                        int stride_b, int rows_b, int pairs, Part part, Sums sums,
                        double* out) = nullptr;
  // Sum of (value * gain - minus)^2 over a row: FP32 squares in blocks of at most kPanelColumns a lane.
  double (*square_sum_bf16)(const std::uint16_t* row, int columns, const float* gain, float minus);
  double (*square_sum_f32)(const float* row, int columns, const float* gain, float minus);
  // Sum of value * gain over a row: for means, FP32.
  double (*sum_bf16)(const std::uint16_t* row, int columns, const float* gain);
  double (*sum_f32)(const float* row, int columns, const float* gain);
};

const GramKernels& gram_kernels(CpuPath path);

// The tables, one a file.
extern const GramKernels kPortableGram;
extern const GramKernels kAvx2Gram;
extern const GramKernels kAvx512Gram;
const GramKernels& bf16_gram();  // kAvx512Gram with BF16 products

}  // namespace ullage::spectrum
