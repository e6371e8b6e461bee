// The loops of fast attention: packing of operands, and a block of query rows against all its keys.
//
// One table a CPU path. A kernel's operands are 32-bit words: one FP32 number, or a pair of BF16
// numbers that one instruction multiplies and adds together (`pair` is 1 or 2). Two packed forms
// serve every product, C[rows x columns] += A B, with A broadcast word by word and B read in vectors:
//   lanes:  the tensor's rows become the columns of B (or, with row_tile lanes, the rows of A);
//           [panel of rows][step][lane], step = `pair` neighbouring columns
//   panels: the tensor's columns are the columns of B; [panel of columns][step][lane], step = `pair`
//           neighbouring rows
#pragma once

#include <cstddef>
#include <cstdint>

#include "ullage/base/cpu.h"

namespace ullage::attention {

using Word = std::uint32_t;

// Rows of a tensor as its owner has them.
struct SourceRows {
  const void* values = nullptr;
  bool bf16 = false;          // else FP32
  std::ptrdiff_t stride = 0;  // elements from row to row; columns are next to each other
  int rows = 0;
  int columns = 0;
  const std::uint8_t* keep = nullptr;  // 0: this row is read as zeros; null: all are kept
};

// What a block's rows carry from tile to tile, and what is left of them at the end. Scores are in the
// units of the packed product (after the cap: of the score itself).
struct RowStates {
  float* top;      // maximum
  float* sum;      // sum of exp(s - top) 2^-shift
  float* shift;    // what the stabilised rule takes off, in powers of two
  float* repeats;  // scores equal to top
  // Statistics; what `repeats` counts is not in the tails.
  float* second;        // largest score below top
  float* tail;          // sum of exp(s - top) 2^-shift over smaller scores
  float* tail_squares;  // of its squares
  float* max_abs;
  float* squares;  // sum of s^2
};
inline constexpr int kRowStates = 9;

struct ForwardBlock {
  const Word* queries;         // lanes of row_tile
  const Word* keys;            // lanes of panel
  const Word* values;          // panels
  std::ptrdiff_t value_panel;  // words from one panel of values to the next
  int rows;                    // a multiple of row_tile
  int steps;                   // of Q K^T
  int value_panels;
  const std::int32_t* begin;  // keys [begin, end) that each row sees
  const std::int32_t* end;
  const float* key_bias;  // 0, or -infinity for padding, a key; null: no padding
  float scale;            // exp(S) = 2^(scale s)
  float cap;              // 0: none
  float cap_scale;        // S = cap tanh(cap_scale s); then scale is for S
  const float* offsets;   // the stabilised rule's, a row, in powers of two; null: standard
  bool statistics;
  RowStates states;   // initialised by the kernel
  float* output;      // rows x output_stride, not yet divided by the sum
  int output_stride;  // value_panels * panel
};

// Keys [key, key + keys) of a head against a block of its queries. Scores are computed with queries
// side by side (S^T), so that what belongs to a query is a vector and P^T and dS^T lie as their
// products read them.
struct BackwardBlock {
  const Word* keys;      // lanes of row_tile, of the tile
  const Word* values;    // likewise
  const Word* key_rows;  // panels, from the tile's first key on
  std::ptrdiff_t key_panel;
  const Word* queries;     // lanes of panel, of the block
  const Word* grads;       // dO, likewise
  const Word* query_rows;  // panels, from the block's first query on
  const Word* grad_rows;   // dO, likewise
  std::ptrdiff_t query_panel;
  std::ptrdiff_t grad_panel;
  int steps;        // of Q K^T
  int value_steps;  // of dO V^T
  int width_panels;
  int value_panels;
  int key;           // the tile's first, in the sequence
  int key_count;     // at most key_tile; rows up to a multiple of row_tile are there
  int query_panels;  // of the block
  const std::int32_t*
      begin;  // keys [begin, end) that each query sees; none for those beyond the last
  const std::int32_t* end;
  const float* key_bias;   // of the tile's keys: not 0 for padding; null: no padding
  const float* minus_log;  // -L, a query, in powers of two; -infinity for a row without keys
  const float* minus_delta;
  float scale;  // as in ForwardBlock
  float cap;
  float cap_scale;
  float* grad_queries;  // query rows x width_stride, added to; not yet times the score scale
  float* grad_keys;     // key rows x width_stride, likewise
  float* grad_values;   // key rows x value_stride, added to
};

// values[i * stride + c] * factors[i], as they go to their owner.
struct FinishedRows {
  const float* values;
  int stride;
  int rows;
  int columns;
  const float* factors;
};

struct TargetRows {
  void* values;
  bool bf16;  // rounded to nearest even; else FP32
  std::ptrdiff_t row;
  std::ptrdiff_t column;
};

struct FastKernels {
  const char* name;
  int pair;
  int row_tile;     // rows of A that stay in registers
  int panel;        // columns of B that do
  int query_block;  // of the backward pass: a multiple of panel and row_tile
  int key_tile;     // likewise, of row_tile and pair
  // Rows beyond the source's are zeros, up to a multiple of `lanes` (row_tile or panel).
  void (*pack_lanes)(const SourceRows& source, int lanes, Word* out);
  // Columns beyond the source's are zeros up to a multiple of panel; rows up to padded_rows.
  void (*pack_panels)(const SourceRows& source, int padded_rows, Word* out);
  void (*forward)(const ForwardBlock& block);
  void (*backward)(const BackwardBlock& block);
  // out[i] = sum over columns of a's row times b's, rows and columns of both alike.
  void (*row_products)(const SourceRows& a, const SourceRows& b, float* out);
  // out[i] = bits_of() row i.
  void (*row_bits)(const SourceRows& source, std::uint32_t* out);
  void (*store_rows)(const FinishedRows& rows, const TargetRows& target);
};

// Rows of a block: a few row tiles, so that a tile of keys is used often while it is in the cache.
inline constexpr int kRowTiles = 8;
// Keys of one tile. A strip of scores stays in the first-level cache; half as many cost 3 to 8 % more
// on Zen 5 with one thread a core, and statistics more.
inline constexpr int kTileKeys = 512;

// Null where the path has none.
const FastKernels* fast_kernels(CpuPath path, bool bf16);

// The tables, one a file.
extern const FastKernels kAvx2Attention;
extern const FastKernels kAvx512Attention;
extern const FastKernels kBf16Attention;

}  // namespace ullage::attention
