#include "ullage/spectrum/gram.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <tuple>

#include "spectrum/gram_kernels.h"
#include "ullage/base/cpu.h"

namespace ullage::spectrum {

namespace {

constexpr double kU32 = 0x1p-24;
constexpr double kU64 = 0x1p-53;
// Fast Grams are taken only with a trace in this range: FP32 products then neither overflow nor lose more than
// kFloor by underflow (flushed to zero or not).
constexpr double kLeastTrace = 0x1p-60;
constexpr double kMostTrace = 0x1p100;
constexpr double kFloor = 0x1p-122;
// FP64 entries with exponents up to this are squared as they are.
constexpr int kPlainExponent = 430;

double decode(std::uint16_t bits) {
  return static_cast<double>(std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16));
}
double decode(float value) { return static_cast<double>(value); }
double decode(double value) { return value; }

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

std::size_t size(int count) { return static_cast<std::size_t>(count); }

bool folds(const HeadRows& rows) { return !rows.gain.empty() || rows.project_mean; }

const GramKernels& kernels() { return gram_kernels(cpu_path()); }

}  // namespace

// What one side of a product needs of scratch.
struct SideBuffers {
  std::vector<float> gain;   // one a column
  std::vector<float> minus;  // one a padded row
  std::vector<float> panel;
  std::vector<double> wide_panel;
  std::vector<double> wide_gain;
  std::vector<std::uint32_t> pairs;

  void prepare(const HeadRows& rows) {
    gain.assign(size(rows.width), 1.0F);
    for (std::size_t c = 0; c < rows.gain.size(); ++c) gain[c] = static_cast<float>(rows.gain[c]);
    minus.assign(size(padded_rows(rows.rows)), 0.0F);
    panel.resize(size(panel_stride(rows.rows)) * kPanelColumns);
  }
};

struct GramWorkspace::Buffers {
  SideBuffers a;
  SideBuffers b;
  std::vector<double> sums;

  void clear_sums(int rows_a, int rows_b) {
    sums.assign(size(padded_rows(rows_a)) * size(padded_rows(rows_b)), 0.0);
  }
};

GramWorkspace::GramWorkspace() : buffers_(std::make_unique<Buffers>()) {}
GramWorkspace::~GramWorkspace() = default;
GramWorkspace::GramWorkspace(GramWorkspace&&) noexcept = default;
GramWorkspace& GramWorkspace::operator=(GramWorkspace&&) noexcept = default;

namespace {

// Scale of a precise Gram: weights times 2^-weight, gains times 2^-gain, both exact but for underflow.
struct Exponents {
  int weight = 0;
  int gain = 0;
};

double largest_gain(const HeadRows& rows) {
  if (rows.gain.empty()) return 1.0;
  double largest = 0.0;
  for (const double value : rows.gain) {
    if (std::isnan(value)) return value;
    largest = std::max(largest, std::abs(value));
  }
  return largest;
}

Exponents exponents_of(double weight, double gain) {
  if (weight == 0.0 || gain == 0.0) return {};
  const int sum = std::ilogb(weight) + std::ilogb(gain);
  if (std::abs(sum) <= kPlainExponent && std::abs(std::ilogb(weight)) <= kPlainExponent &&
      std::abs(std::ilogb(gain)) <= kPlainExponent) {
    return {};
  }
  // Powers of two within the range of double: a few bits short for the largest and the subnormal, which is enough.
  return {std::clamp(std::ilogb(weight), -1000, 1000), std::clamp(std::ilogb(gain), -1000, 1000)};
}

// Means of the folded rows, FP32 sums: the Gram is about the rows minus these, exactly orthogonal to
// ones or not, since removing what is left of a mean only makes a Gram smaller.
void fast_means(const HeadRows& rows, const float* gain, float* minus) {
  for (int r = 0; r < rows.rows; ++r) {
    const double sum =
        rows.element == Element::bf16
            ? kernels().sum_bf16(static_cast<const std::uint16_t*>(rows.values) + r * rows.stride,
                                 rows.width, gain)
            : kernels().sum_f32(static_cast<const float*>(rows.values) + r * rows.stride,
                                rows.width, gain);
    minus[r] = static_cast<float>(sum / rows.width);
  }
}

void pack_fast(const HeadRows& rows, const SideBuffers& side, int column, int columns,
               float* panel) {
  const int stride = panel_stride(rows.rows);
  const float* gain = side.gain.data() + column;
  const float* minus = side.minus.data();
  if (rows.element == Element::bf16) {
    kernels().pack_bf16({static_cast<const std::uint16_t*>(rows.values) + column, rows.stride,
                         rows.rows, columns, gain, minus},
                        panel, stride);
  } else {
    kernels().pack_f32({static_cast<const float*>(rows.values) + column, rows.stride, rows.rows,
                        columns, gain, minus},
                       panel, stride);
  }
}

// The precise side: FP64 gains times 2^-gain, means, and panels.
struct PreciseSide {
  const HeadRows& rows;
  SideBuffers& buffers;
  double weight_scale;
  std::vector<double> minus;

  PreciseSide(const HeadRows& rows_in, SideBuffers& buffers_in, Exponents exponents)
      : rows(rows_in),
        buffers(buffers_in),
        weight_scale(std::ldexp(1.0, -exponents.weight)),
        minus(size(rows_in.rows)) {
    buffers.wide_gain.assign(size(rows.width), std::ldexp(1.0, -exponents.gain));
    for (std::size_t c = 0; c < rows.gain.size(); ++c) buffers.wide_gain[c] *= rows.gain[c];
    buffers.wide_panel.assign(size(panel_stride(rows.rows)) * kPanelColumns, 0.0);
    if (!rows.project_mean) return;
    with_values(rows, [&](auto* values) {
      for (int r = 0; r < rows.rows; ++r) {
        double sum = 0.0;
        for (int c = 0; c < rows.width; ++c) {
          sum += decode(values[r * rows.stride + c]) * weight_scale * buffers.wide_gain[size(c)];
        }
        minus[size(r)] = sum / rows.width;
      }
    });
  }

  void pack(int column, int columns) {
    const int stride = panel_stride(rows.rows);
    with_values(rows, [&](auto* values) {
      for (int r = 0; r < rows.rows; ++r) {
        const auto* row = values + r * rows.stride + column;
        const double* gain = buffers.wide_gain.data() + column;
        double* out = buffers.wide_panel.data() + r;
        for (int c = 0; c < columns; ++c) {
          out[c * stride] = decode(row[c]) * weight_scale * gain[c] - minus[size(r)];
        }
      }
    });
  }
};

void copy_sums(const std::vector<double>& sums, int rows_a, int rows_b, Matrix& out) {
  if (out.rows() != rows_a || out.columns() != rows_b) out = Matrix(rows_a, rows_b);
  const std::size_t stride = size(padded_rows(rows_b));
  for (int i = 0; i < rows_a; ++i) {
    std::copy_n(sums.data() + size(i) * stride, rows_b, out.row(i).begin());
  }
}

void mirror_upper(const std::vector<double>& sums, int rows, Matrix& out) {
  copy_sums(sums, rows, rows, out);
  for (int i = 0; i < rows; ++i) {
    for (int j = 0; j < i; ++j) out(i, j) = out(j, i);
  }
}

// Fills the bounds of `gram` from the errors that its arithmetic makes.
struct Errors {
  double sum_unit;   // of sums of products, relative to |row i||row j|
  double fold_unit;  // of an entry, relative to |weight gain|
  double floor;      // of an entry of the Gram, absolute: what underflow loses
};

void set_bounds(const HeadRows& rows, const Errors& errors, Gram& gram) {
  constexpr double kRounding = 1.0 + 1e-9;  // of these few lines themselves
  const double squares = trace(gram.values) * (1.0 + 2.0 * errors.sum_unit);
  double means = 0.0;
  for (const double mean : gram.means) means += mean * mean;
  // Folded entries are off by at most e_ij, |e|_F <= E: |(X + e)(X + e)^T - X X^T| <= 2 |X|_F E + E^2.
  const double fold = errors.fold_unit * std::sqrt(squares + rows.width * means);
  gram.entry_unit =
      (errors.sum_unit + 2.0 * errors.fold_unit) * (1.0 + 4.0 * errors.sum_unit) * kRounding;
  gram.entry_floor = errors.floor;
  gram.inflation = (errors.sum_unit * squares + 2.0 * std::sqrt(squares) * fold + fold * fold +
                    gram.values.rows() * errors.floor) *
                   kRounding;
  if (rows.project_mean) {
    gram.entry_unit = 0.0;
    gram.entry_floor = gram.inflation;
  }
}

bool fast_gram(const HeadRows& rows, GramWorkspace::Buffers& buffers, Gram& out) {
  const int n = rows.rows;
  const int stride = panel_stride(n);
  const bool pairs = rows.element == Element::bf16 && !folds(rows) && kernels().product_pairs;
  buffers.clear_sums(n, n);
  SideBuffers& side = buffers.a;
  side.prepare(rows);
  out.means.clear();
  const int step = pairs ? kPairPanelColumns : kPanelColumns;
  if (pairs) {
    side.pairs.resize(size(stride) * kPairPanelColumns / 2);
    for (int column = 0; column < rows.width; column += step) {
      const int columns = std::min(step, rows.width - column);
      kernels().pack_pairs({static_cast<const std::uint16_t*>(rows.values) + column, rows.stride, n,
                            columns, nullptr, nullptr},
                           side.pairs.data(), stride);
      kernels().product_pairs(side.pairs.data(), stride, n, side.pairs.data(), stride, n,
                              (columns + 1) / 2, Part::upper, buffers.sums.data());
    }
  } else {
    if (rows.project_mean) {
      fast_means(rows, side.gain.data(), side.minus.data());
      out.means.assign(side.minus.begin(), side.minus.begin() + n);
    }
    for (int column = 0; column < rows.width; column += step) {
      const int columns = std::min(step, rows.width - column);
      pack_fast(rows, side, column, columns, side.panel.data());
      kernels().product_f32(side.panel.data(), stride, n, side.panel.data(), stride, n, columns,
                            Part::upper, buffers.sums.data());
    }
  }
  mirror_upper(buffers.sums, n, out.values);
  const double squares = trace(out.values);
  if (!(squares >= kLeastTrace && squares <= kMostTrace)) return false;
  const int blocks = (rows.width + step - 1) / step;
  set_bounds(rows,
             {.sum_unit = (step + 4) * kU32 + (blocks + 4) * kU64,
              .fold_unit = folds(rows) ? 2.0 * kU32 : 0.0,
              .floor = rows.width * kFloor * (1.0 + std::sqrt(squares))},
             out);
  return true;
}

bool precise_gram(const HeadRows& rows, GramWorkspace::Buffers& buffers, Gram& out) {
  const double weight = largest_magnitude(rows);
  const double gain = largest_gain(rows);
  if (!std::isfinite(weight) || !std::isfinite(gain)) return false;
  const Exponents exponents = exponents_of(weight, gain);
  const int n = rows.rows;
  const int stride = panel_stride(n);
  buffers.clear_sums(n, n);
  PreciseSide side(rows, buffers.a, exponents);
  for (int column = 0; column < rows.width; column += kPanelColumns) {
    const int columns = std::min(kPanelColumns, rows.width - column);
    side.pack(column, columns);
    const double* panel = buffers.a.wide_panel.data();
    kernels().product_f64(panel, stride, n, panel, stride, n, columns, Part::upper,
                          buffers.sums.data());
  }
  mirror_upper(buffers.sums, n, out.values);
  out.exponent = exponents.weight + exponents.gain;
  out.means.clear();
  if (rows.project_mean) out.means = side.minus;
  const int blocks = (rows.width + kPanelColumns - 1) / kPanelColumns;
  set_bounds(
      rows,
      {.sum_unit = (kPanelColumns + blocks + 4) * kU64,
       .fold_unit = folds(rows) ? 4.0 * kU64 : 0.0,
       .floor =
           weight * gain == 0.0 && (weight == 0.0 || gain == 0.0) ? 0.0 : rows.width * 0x1p-1060},
      out);
  return true;
}

}  // namespace

HeadRows unfolded(HeadRows rows) {
  rows.gain = {};
  rows.project_mean = false;
  return rows;
}

Matrix inflated(const Gram& gram) {
  Matrix out = gram.values;
  for (int i = 0; i < out.rows(); ++i) {
    out(i, i) = (out(i, i) + gram.inflation) * (1.0 + 2.0 * kU64);
  }
  return out;
}

bool gram(const HeadRows& rows, Arithmetic arithmetic, GramWorkspace& workspace, Gram& out) {
  out.exponent = 0;
  if (arithmetic == Arithmetic::fast && rows.element != Element::f64 &&
      fast_gram(rows, workspace.buffers(), out)) {
    return true;
  }
  return precise_gram(rows, workspace.buffers(), out);
}

bool cross_gram(const HeadRows& a, const Gram& gram_a, const HeadRows& b, const Gram& gram_b,
                GramWorkspace& workspace, Matrix& out) {
  assert(a.width == b.width);
  GramWorkspace::Buffers& buffers = workspace.buffers();
  const int stride_a = panel_stride(a.rows);
  const int stride_b = panel_stride(b.rows);
  buffers.clear_sums(a.rows, b.rows);
  const auto fits = [](const HeadRows& rows, const Gram& gram) {
    const double squares = trace(gram.values);
    return rows.element != Element::f64 && gram.exponent == 0 && squares <= kMostTrace &&
           (squares >= kLeastTrace || squares == 0.0);
  };
  const bool fast = fits(a, gram_a) && fits(b, gram_b);
  const bool pairs = fast && kernels().product_pairs;
  if (fast) {
    for (const auto& [rows, gram, side] :
         {std::tie(a, gram_a, buffers.a), std::tie(b, gram_b, buffers.b)}) {
      side.prepare(rows);
      for (std::size_t r = 0; r < gram.means.size(); ++r) {
        side.minus[r] = static_cast<float>(gram.means[r]);
      }
      if (pairs) side.pairs.resize(size(panel_stride(rows.rows)) * kPanelColumns / 2);
    }
    for (int column = 0; column < a.width; column += kPanelColumns) {
      const int columns = std::min(kPanelColumns, a.width - column);
      for (const auto& [rows, side] : {std::tie(a, buffers.a), std::tie(b, buffers.b)}) {
        pack_fast(rows, side, column, columns, side.panel.data());
        if (!pairs) continue;
        const int stride = panel_stride(rows.rows);
        if (columns % 2 != 0) std::fill_n(side.panel.data() + columns * stride, stride, 0.0F);
        kernels().pairs_of_f32(side.panel.data(), stride, rows.rows, side.pairs.data(), columns);
      }
      if (pairs) {
        kernels().product_pairs(buffers.a.pairs.data(), stride_a, a.rows, buffers.b.pairs.data(),
                                stride_b, b.rows, (columns + 1) / 2, Part::all,
                                buffers.sums.data());
      } else {
        kernels().product_f32(buffers.a.panel.data(), stride_a, a.rows, buffers.b.panel.data(),
                              stride_b, b.rows, columns, Part::all, buffers.sums.data());
      }
    }
  } else {
    const double weight_a = largest_magnitude(a);
    const double weight_b = largest_magnitude(b);
    const double gain_a = largest_gain(a);
    const double gain_b = largest_gain(b);
    if (!std::isfinite(weight_a + weight_b) || !std::isfinite(gain_a + gain_b)) return false;
    PreciseSide side_a(a, buffers.a, exponents_of(weight_a, gain_a));
    PreciseSide side_b(b, buffers.b, exponents_of(weight_b, gain_b));
    for (int column = 0; column < a.width; column += kPanelColumns) {
      const int columns = std::min(kPanelColumns, a.width - column);
      side_a.pack(column, columns);
      side_b.pack(column, columns);
      kernels().product_f64(buffers.a.wide_panel.data(), stride_a, a.rows,
                            buffers.b.wide_panel.data(), stride_b, b.rows, columns, Part::all,
                            buffers.sums.data());
    }
  }
  copy_sums(buffers.sums, a.rows, b.rows, out);
  return true;
}

double largest_magnitude(const HeadRows& rows) {
  if (rows.element == Element::bf16) {
    // BF16's order is that of its bits without the sign; NaN lies above infinity.
    const auto* values = static_cast<const std::uint16_t*>(rows.values);
    std::int16_t largest = 0;
    for (int r = 0; r < rows.rows; ++r) {
      for (int c = 0; c < rows.width; ++c) {
        const auto bits = static_cast<std::int16_t>(values[r * rows.stride + c] & 0x7fff);
        largest = std::max(largest, bits);
      }
    }
    return decode(static_cast<std::uint16_t>(largest));
  }
  return with_values(rows, [&](auto* values) {
    double largest = 0.0;
    for (int r = 0; r < rows.rows; ++r) {
      for (int c = 0; c < rows.width; ++c) {
        const double value = std::abs(decode(values[r * rows.stride + c]));
        if (!(value <= largest)) largest = value;  // takes NaN
        if (std::isnan(largest)) return largest;
      }
    }
    return largest;
  });
}

bool row_norms_squared(const HeadRows& rows, GramWorkspace& workspace, std::span<double> out) {
  assert(out.size() == size(rows.rows));
  SideBuffers& side = workspace.buffers().a;
  side.prepare(rows);
  const auto precise_row = [&](int r) {
    HeadRows row = rows;
    row.rows = 1;
    with_values(rows, [&](auto* values) { row.values = values + r * rows.stride; });
    Gram one;
    if (!precise_gram(row, workspace.buffers(), one)) return false;
    out[size(r)] =
        std::ldexp(one.values(0, 0) + one.inflation, 2 * one.exponent) * (1.0 + 4.0 * kU64);
    return true;
  };
  if (rows.element != Element::f64 && rows.project_mean) {
    fast_means(rows, side.gain.data(), side.minus.data());
  }
  for (int r = 0; r < rows.rows; ++r) {
    if (rows.element == Element::f64) {
      if (!precise_row(r)) return false;
      continue;
    }
    const float minus = side.minus[size(r)];
    const double sum =
        rows.element == Element::bf16
            ? kernels().square_sum_bf16(
                  static_cast<const std::uint16_t*>(rows.values) + r * rows.stride, rows.width,
                  side.gain.data(), minus)
            : kernels().square_sum_f32(static_cast<const float*>(rows.values) + r * rows.stride,
                                       rows.width, side.gain.data(), minus);
    if (!(sum >= kLeastTrace && sum <= kMostTrace)) {
      if (!precise_row(r)) return false;
      side.prepare(rows);
      if (rows.project_mean) fast_means(rows, side.gain.data(), side.minus.data());
      continue;
    }
    const double squares = sum * (1.0 + (kPanelColumns + 4) * kU32 + rows.width * kU64);
    const double entry = folds(rows) ? 2.0 * kU32 : 0.0;
    const double fold = entry * std::sqrt(squares + rows.width * static_cast<double>(minus) *
                                                        static_cast<double>(minus));
    const double root = std::sqrt(squares) + fold;
    out[size(r)] = (root * root + rows.width * kFloor * (1.0 + root)) * (1.0 + 1e-9);
  }
  return true;
}

void row_products(const HeadRows& rows, std::span<const double> x, std::span<double> out) {
  assert(x.size() == size(rows.width) && out.size() == size(rows.rows));
  with_values(rows, [&](auto* values) {
    for (int r = 0; r < rows.rows; ++r) {
      const auto* row = values + r * rows.stride;
      double sums[8] = {};
      int c = 0;
      for (; c + 8 <= rows.width; c += 8) {
        for (int k = 0; k < 8; ++k) sums[k] += decode(row[c + k]) * x[size(c + k)];
      }
      for (; c < rows.width; ++c) sums[0] += decode(row[c]) * x[size(c)];
      out[size(r)] =
          ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
    }
  });
}

void read_row(const HeadRows& rows, int row, std::span<double> out) {
  assert(out.size() == size(rows.width));
  with_values(rows, [&](auto* values) {
    for (int c = 0; c < rows.width; ++c) out[size(c)] = decode(values[row * rows.stride + c]);
  });
}

}  // namespace ullage::spectrum
