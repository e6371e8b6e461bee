#include "ullage/spectrum/gram.h"

#include <algorithm>
#include <cassert>
#include <cmath>

#include "spectrum/gram_parts.h"
#include "ullage/base/multiple.h"

namespace ullage::spectrum {

namespace {

void pack_fast(const HeadRows& rows, const float* gain, const float* minus, int column, int columns,
               float* panel) {
  const int stride = panel_stride(rows.rows);
  if (rows.element == Element::bf16) {
    current_kernels().pack_bf16({static_cast<const std::uint16_t*>(rows.values) + column,
                                 rows.stride, rows.rows, columns, gain + column, minus},
                                panel, stride);
  } else {
    current_kernels().pack_f32({static_cast<const float*>(rows.values) + column, rows.stride,
                                rows.rows, columns, gain + column, minus},
                               panel, stride);
  }
}

// Mirrors the sums and bounds their errors; false where the trace leaves the range of fast Grams.
bool finish_fast(const HeadRows& rows, int step, const double* sums, Gram& out) {
  out.exponent = 0;
  mirror_upper(sums, rows.rows, out.values);
  const double squares = trace(out.values);
  if (!fast_trace(squares)) return false;
  const int blocks = ceil_divide(rows.width, step);
  set_bounds(rows,
             {.sum_unit = (step + 4) * kU32 + (blocks + 4) * kU64,
              // The gain's rounding to FP32, the product's, and that of the mean's subtraction.
              .fold_unit = (rows.project_mean ? 3.0
                            : folds(rows)     ? 2.0
                                              : 0.0) *
                           kU32,
              .floor = rows.width * kUnderflow * (1.0 + std::sqrt(squares))},
             out);
  return true;
}

// One pass over the columns for whatever of `pass` is asked, in FP32 and BF16 products.
class FastPass {
 public:
  FastPass(const HeadRows& rows, GramWorkspace::Buffers& buffers, const GramPass& pass)
      : rows_(rows),
        buffers_(buffers),
        pass_(pass),
        stride_(panel_stride(rows.rows)),
        paired_(current_kernels().product_pairs != nullptr),
        stored_(pass.stored != nullptr || (pass.folded != nullptr && !folds(rows))),
        folded_(pass.folded != nullptr && folds(rows)) {}

  void run() {
    prepare();
    // Rows that are BF16 already are transposed once, multiplied as they are and folded from there.
    const bool from_pairs = paired_ && rows_.element == Element::bf16;
    const int step = from_pairs ? kPairPanelColumns : kPanelColumns;
    for (int column = 0; column < rows_.width; column += step) {
      const int columns = std::min(step, rows_.width - column);
      if (from_pairs) {
        pairs_block(column, columns);
      } else {
        float_block(column, columns);
      }
    }
    finish(step);
  }
  // Whether FP32's range was enough: for the stored rows, for the folded ones and what was kept of them, for the product.
  [[nodiscard]] bool stored_fits() const { return stored_fits_; }
  [[nodiscard]] bool folded_fits() const { return folded_fits_; }
  [[nodiscard]] bool product_fits() const { return product_fits_; }

 private:
  [[nodiscard]] Gram& stored_gram() const {
    return pass_.stored != nullptr ? *pass_.stored : *pass_.folded;
  }
  static Sums sums_at(int column) { return column == 0 ? Sums::first : Sums::more; }

  void prepare() {
    const int n = rows_.rows;
    buffers_.a.prepare(rows_);
    if (stored_) stored_sums_ = place_sums(n, n, buffers_.stored_sums, stored_gram().values);
    if (folded_) folded_sums_ = place_sums(n, n, buffers_.sums, pass_.folded->values);
    if (rows_.project_mean) fast_means(rows_, buffers_.a.gain.data(), buffers_.a.minus.data());
    if (pass_.keep != nullptr) {
      pass_.keep->reserve(n, rows_.width, paired_);
      buffers_.b.gain.assign(size(rows_.width), 1.0F);
      for (std::size_t c = 0; c < pass_.keep_gain.size(); ++c)
        buffers_.b.gain[c] = static_cast<float>(pass_.keep_gain[c]);
    }
    if (pass_.product != nullptr)
      cross_sums_ = place_sums(n, pass_.other->rows(), buffers_.cross_sums, *pass_.product);
    if (paired_) buffers_.a.pairs.resize(size(stride_) * kPairPanelColumns / 2);
    if (buffers_.ones.size() < size(rows_.width)) buffers_.ones.assign(size(rows_.width), 1.0F);
  }

  void pairs_block(int column, int columns) {
    const GramKernels& kernels = current_kernels();
    const int n = rows_.rows;
    std::uint32_t* pairs = buffers_.a.pairs.data();
    kernels.pack_pairs({static_cast<const std::uint16_t*>(rows_.values) + column, rows_.stride, n,
                        columns, nullptr, nullptr},
                       pairs, stride_);
    if (stored_)
      kernels.product_pairs(pairs, stride_, n, pairs, stride_, n, (columns + 1) / 2, Part::upper,
                            sums_at(column), stored_sums_);
    if (pass_.product != nullptr) cross_pairs(column, columns, pairs);
    const bool keeps_as_stored = !folds(rows_) && pass_.keep_gain.empty();
    for (int begin = 0; begin < columns; begin += kPanelColumns) {
      const int count = std::min(kPanelColumns, columns - begin);
      const int first = column + begin;
      const std::uint32_t* part = pairs + begin / 2 * stride_;
      if (pass_.keep != nullptr && keeps_as_stored)
        std::copy_n(part, size((count + 1) / 2) * size(stride_), pass_.keep->panel(first));
      if (!folded_ && (pass_.keep == nullptr || keeps_as_stored)) continue;
      float* panel = buffers_.a.panel.data();
      kernels.fold_pairs(part, n, stride_, count, buffers_.a.gain.data() + first,
                         buffers_.a.minus.data(), panel);
      if (folded_)
        kernels.product_f32(panel, stride_, n, panel, stride_, n, count, Part::upper,
                            sums_at(first), folded_sums_);
      if (pass_.keep != nullptr) keep(first, count, panel);
    }
  }

  void float_block(int column, int columns) {
    const GramKernels& kernels = current_kernels();
    const int n = rows_.rows;
    float* panel = buffers_.a.panel.data();
    const bool as_stored = stored_ || pass_.product != nullptr;
    if (as_stored) pack_fast(rows_, buffers_.ones.data(), zeros(), column, columns, panel);
    if (stored_)
      kernels.product_f32(panel, stride_, n, panel, stride_, n, columns, Part::upper,
                          sums_at(column), stored_sums_);
    if (pass_.product != nullptr && paired_) {
      kernels.pairs_of_f32(panel, stride_, n, buffers_.ones.data(), buffers_.a.pairs.data(),
                           columns);
      cross_pairs(column, columns, buffers_.a.pairs.data());
    } else if (pass_.product != nullptr) {
      const PackedRows& other = *pass_.other;
      kernels.product_f32(panel, stride_, n, reinterpret_cast<const float*>(other.panel(column)),
                          panel_stride(other.rows()), other.rows(), columns, Part::all,
                          sums_at(column), cross_sums_);
    }
    if (!folded_ && pass_.keep == nullptr) return;
    if (folds(rows_) || !as_stored)
      pack_fast(rows_, buffers_.a.gain.data(), buffers_.a.minus.data(), column, columns, panel);
    if (folded_)
      kernels.product_f32(panel, stride_, n, panel, stride_, n, columns, Part::upper,
                          sums_at(column), folded_sums_);
    if (pass_.keep != nullptr) keep(column, columns, panel);
  }

  // A panel of the folded rows, to stay.
  void keep(int column, int columns, const float* panel) const {
    const float* gain = buffers_.b.gain.data() + column;
    std::uint32_t* out = pass_.keep->panel(column);
    if (paired_)
      return current_kernels().pairs_of_f32(panel, stride_, rows_.rows, gain, out, columns);
    auto* kept = reinterpret_cast<float*>(out);
    for (int c = 0; c < columns; ++c) {
      for (int r = 0; r < stride_; ++r) kept[c * stride_ + r] = panel[c * stride_ + r] * gain[c];
    }
  }

  void cross_pairs(int column, int columns, const std::uint32_t* pairs) const {
    const PackedRows& other = *pass_.other;
    current_kernels().product_pairs(pairs, stride_, rows_.rows, other.panel(column),
                                    panel_stride(other.rows()), other.rows(), (columns + 1) / 2,
                                    Part::all, sums_at(column), cross_sums_);
  }

  void finish(int step) {
    const int n = rows_.rows;
    if (stored_) {
      Gram& out = stored_gram();
      out.means.clear();
      stored_fits_ = finish_fast(unfolded(rows_), step, stored_sums_, out);
      folded_fits_ = stored_fits_;
      if (pass_.folded != nullptr && !folds(rows_) && pass_.stored != nullptr)
        *pass_.folded = *pass_.stored;
    }
    if (folded_) {
      pass_.folded->means.clear();
      if (rows_.project_mean)
        pass_.folded->means.assign(buffers_.a.minus.begin(), buffers_.a.minus.begin() + n);
      folded_fits_ = finish_fast(rows_, kPanelColumns, folded_sums_, *pass_.folded);
    }
    if (pass_.product != nullptr) {
      take_sums(cross_sums_, n, pass_.other->rows(), *pass_.product);
      product_fits_ = stored_fits_ && (pass_.folded == nullptr || folded_fits_) &&
                      std::isfinite(largest_magnitude(*pass_.product));
    }
  }

  const float* zeros() {
    buffers_.b.minus.assign(size(padded_rows(rows_.rows)), 0.0F);
    return buffers_.b.minus.data();
  }

  const HeadRows& rows_;
  GramWorkspace::Buffers& buffers_;
  GramPass pass_;
  int stride_;
  bool paired_;  // this CPU multiplies BF16 pairs
  bool stored_;  // a Gram of the rows as they are is made
  bool folded_;  // and one of the folded rows
  double* stored_sums_ = nullptr;
  double* folded_sums_ = nullptr;
  double* cross_sums_ = nullptr;
  bool stored_fits_ = false;
  bool folded_fits_ = false;
  bool product_fits_ = false;
};

bool fits(const HeadRows& rows, const Gram& gram) {
  const double squares = trace(gram.values);
  return rows.element != Element::f64 && gram.exponent == 0 && squares <= kMostTrace &&
         (squares >= kLeastTrace || squares == 0.0);
}

}  // namespace

void PackedRows::reserve(int rows, int width, bool pairs) {
  rows_ = rows;
  lines_ = pairs ? kPanelColumns / 2 : kPanelColumns;
  const std::size_t panels = size(ceil_divide(width, kPanelColumns));
  const std::size_t words = panels * size(lines_) * size(panel_stride(rows));
  if (words <= capacity_) return;
  words_ = std::make_unique_for_overwrite<std::uint32_t[]>(words);
  capacity_ = words;
}

std::uint32_t* PackedRows::panel(int column) const {
  return words_.get() + size(column / kPanelColumns) * size(lines_) * size(panel_stride(rows_));
}

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

bool gram_pass(const HeadRows& rows, GramWorkspace& workspace, const GramPass& pass) {
  assert((pass.product == nullptr) == (pass.other == nullptr));
  assert(pass.product == nullptr || pass.stored != nullptr || !folds(rows));
  GramWorkspace::Buffers& buffers = workspace.buffers();
  bool stored_fits = false;
  bool folded_fits = false;
  bool product_fits = false;
  if (rows.element != Element::f64) {
    FastPass fast(rows, buffers, pass);
    fast.run();
    stored_fits = fast.stored_fits();
    folded_fits = fast.folded_fits();
    product_fits = fast.product_fits();
  }
  if (!folded_fits && pass.keep != nullptr) pass.keep->clear();
  if (!product_fits && pass.product != nullptr) *pass.product = Matrix();
  if (pass.stored != nullptr && !stored_fits &&
      !precise_gram(unfolded(rows), buffers, *pass.stored))
    return false;
  return pass.folded == nullptr || folded_fits || precise_gram(rows, buffers, *pass.folded);
}

bool gram(const HeadRows& rows, Arithmetic arithmetic, GramWorkspace& workspace, Gram& out) {
  if (arithmetic == Arithmetic::precise) return precise_gram(rows, workspace.buffers(), out);
  return gram_pass(rows, workspace, {.folded = &out});
}

bool cross_gram(const HeadRows& a, const Gram& gram_a, const HeadRows& b, const Gram& gram_b,
                GramWorkspace& workspace, Matrix& out) {
  assert(a.width == b.width);
  if (fits(a, gram_a) && fits(b, gram_b)) {
    // A P B^T = A (B P)^T for the projection P, whichever side asks for it.
    HeadRows key = b;
    key.project_mean = a.project_mean || b.project_mean;
    PackedRows packed;
    FastPass(key, workspace.buffers(), {.keep = &packed, .keep_gain = a.gain}).run();
    const HeadRows query = unfolded(a);
    Gram stored;
    FastPass product(query, workspace.buffers(),
                     {.stored = &stored, .other = &packed, .product = &out});
    product.run();
    if (product.product_fits()) return true;
  }
  return precise_cross(a, b, workspace.buffers(), out);
}

}  // namespace ullage::spectrum
