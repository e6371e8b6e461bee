// What the fast and the precise Grams of a head share: scratch, element types, and the error bounds they end with.
#pragma once

#include <bit>
#include <cstdint>
#include <vector>

#include "spectrum/gram_kernels.h"
#include "ullage/spectrum/error_terms.h"
#include "ullage/spectrum/gram.h"

namespace ullage::spectrum {

inline double decode(std::uint16_t bits) {
  return static_cast<double>(std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16));
}
inline double decode(float value) { return static_cast<double>(value); }
inline double decode(double value) { return value; }

// body(const T* values) with the rows' element type.
template <class Body>
auto with_values(const HeadRows& rows, Body body) {
  switch (rows.element) {
    case Element::f32:
      return body(static_cast<const float*>(rows.values));
    case Element::f64:
      return body(static_cast<const double*>(rows.values));
    case Element::bf16:
      break;
  }
  return body(static_cast<const std::uint16_t*>(rows.values));
}

inline std::size_t size(int count) { return static_cast<std::size_t>(count); }

inline bool folds(const HeadRows& rows) { return !rows.gain.empty() || rows.project_mean; }

// The table of the CPU path in use.
const GramKernels& current_kernels();

// What one side of a product needs of scratch.
struct SideBuffers {
  std::vector<float> gain;   // one a column
  std::vector<float> minus;  // one a padded row
  std::vector<float> panel;
  std::vector<double> wide_panel;
  std::vector<double> wide_gain;
  std::vector<std::uint32_t> pairs;

  void prepare(const HeadRows& rows);
};

struct GramWorkspace::Buffers {
  SideBuffers a;
  SideBuffers b;
  std::vector<float> ones;  // gains of rows that are not folded
  std::vector<double> sums;
  std::vector<double> stored_sums;
  std::vector<double> cross_sums;
};

// Where the sums of a product of two heads' rows go, row i at i * padded_rows(rows_b): into `out` itself where it has that
// shape, else into `room`. take_sums brings them to `out`; mirror_upper too, its lower triangle made from the upper one.
double* place_sums(int rows_a, int rows_b, std::vector<double>& room, Matrix& out);
void take_sums(const double* sums, int rows_a, int rows_b, Matrix& out);
void mirror_upper(const double* sums, int rows, Matrix& out);

// Means of the folded rows, FP32 sums, into minus: the Gram is about the rows minus these, exactly orthogonal to
// ones or not, since removing what is left of a mean only makes a Gram smaller.
void fast_means(const HeadRows& rows, const float* gain, float* minus);

// FP64 throughout, and A B^T so. False where a weight or a gain is not finite.
bool precise_gram(const HeadRows& rows, GramWorkspace::Buffers& buffers, Gram& out);
bool precise_cross(const HeadRows& a, const HeadRows& b, GramWorkspace::Buffers& buffers,
                   Matrix& out);

}  // namespace ullage::spectrum
