#include "spectrum/gram_parts.h"

#include <algorithm>
#include <cmath>

#include "ullage/base/cpu.h"

namespace ullage::spectrum {

const GramKernels& current_kernels() { return gram_kernels(cpu_path()); }

void SideBuffers::prepare(const HeadRows& rows) {
  gain.assign(size(rows.width), 1.0F);
  for (std::size_t c = 0; c < rows.gain.size(); ++c) gain[c] = static_cast<float>(rows.gain[c]);
  minus.assign(size(padded_rows(rows.rows)), 0.0F);
  panel.resize(size(panel_stride(rows.rows)) * kPanelColumns);
}

GramWorkspace::GramWorkspace() : buffers_(std::make_unique<Buffers>()) {}
GramWorkspace::~GramWorkspace() = default;
GramWorkspace::GramWorkspace(GramWorkspace&&) noexcept = default;
GramWorkspace& GramWorkspace::operator=(GramWorkspace&&) noexcept = default;

double* place_sums(int rows_a, int rows_b, std::vector<double>& room, Matrix& out) {
  if (out.rows() != rows_a || out.columns() != rows_b) out = Matrix(rows_a, rows_b, kUnwritten);
  if (padded_rows(rows_a) == rows_a && padded_rows(rows_b) == rows_b) return out.data();
  room.resize(size(padded_rows(rows_a)) * size(padded_rows(rows_b)));
  return room.data();
}

void take_sums(const double* sums, int rows_a, int rows_b, Matrix& out) {
  if (sums == out.data()) return;
  const std::size_t stride = size(padded_rows(rows_b));
  for (int i = 0; i < rows_a; ++i) {
    std::copy_n(sums + size(i) * stride, rows_b, out.row(i).begin());
  }
}

void mirror_upper(const double* sums, int rows, Matrix& out) {
  take_sums(sums, rows, rows, out);
  // By blocks, so that columns are read while their lines are in cache.
  constexpr int kBlock = 8;
  for (int i = 0; i < rows; i += kBlock) {
    for (int j = 0; j <= i; j += kBlock) {
      for (int row = i; row < std::min(i + kBlock, rows); ++row) {
        const int last = std::min(j + kBlock, row);
        for (int column = j; column < last; ++column) out(row, column) = out(column, row);
      }
    }
  }
}

void fast_means(const HeadRows& rows, const float* gain, float* minus) {
  for (int r = 0; r < rows.rows; ++r) {
    const double sum =
        rows.element == Element::bf16
            ? current_kernels().sum_bf16(
                  static_cast<const std::uint16_t*>(rows.values) + r * rows.stride, rows.width,
                  gain)
            : current_kernels().sum_f32(static_cast<const float*>(rows.values) + r * rows.stride,
                                        rows.width, gain);
    minus[r] = static_cast<float>(sum / rows.width);
  }
}

void set_bounds(const HeadRows& rows, const GramErrors& errors, Gram& gram) {
  const double squares = trace(gram.values) * (1.0 + 2.0 * errors.sum_unit);
  double means = 0.0;
  for (const double mean : gram.means) means += mean * mean;
  gram.entry_unit = gram_entry_unit(errors);
  gram.entry_floor = errors.floor;
  gram.inflation = gram_inflation(errors, gram.values.rows(), std::sqrt(squares),
                                  std::sqrt(squares + rows.width * means));
  if (rows.project_mean) {
    gram.entry_unit = 0.0;
    gram.entry_floor = gram.inflation;
  }
}

}  // namespace ullage::spectrum
