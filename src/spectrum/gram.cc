#include "ullage/spectrum/gram.h"

#include <algorithm>
#include <cassert>
#include <cmath>

#include "spectrum/gram_parts.h"

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

// BF16 pairs of a panel; an odd last column gets zeros beside it.
void narrow(int rows, int columns, float* panel, std::uint32_t* pairs) {
  const int stride = panel_stride(rows);
  if (columns % 2 != 0) std::fill_n(panel + columns * stride, stride, 0.0F);
  current_kernels().pairs_of_f32(panel, stride, rows, pairs, columns);
}

// Mirrors the sums and bounds their errors; false where the trace leaves the range of fast Grams.
bool finish_fast(const HeadRows& rows, int step, const double* sums, Gram& out) {
  out.exponent = 0;
  mirror_upper(sums, rows.rows, out.values);
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
        folded_(pass.folded != nullptr && folds(rows)),
        packs_(pass.keep != nullptr || pass.product != nullptr) {}

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
  // Of the stored rows, and of the folded ones and what was packed of them.
  [[nodiscard]] bool stored_fits() const { return stored_fits_; }
  [[nodiscard]] bool folded_fits() const { return folded_fits_; }

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
    if (pass_.keep != nullptr) pass_.keep->reserve(n, rows_.width, paired_);
    if (pass_.product != nullptr)
      cross_sums_ = place_sums(n, pass_.other->rows(), buffers_.cross_sums, *pass_.product);
    if (paired_) buffers_.a.pairs.resize(size(stride_) * kPairPanelColumns / 2);
    if (paired_ && packs_) buffers_.b.pairs.resize(size(stride_) * kPanelColumns / 2);
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
    for (int begin = 0; begin < columns; begin += kPanelColumns) {
      const int count = std::min(kPanelColumns, columns - begin);
      std::uint32_t* part = pairs + begin / 2 * stride_;
      if (folds(rows_) && (folded_ || packs_)) {
        float* panel = buffers_.a.panel.data();
        kernels.fold_pairs(part, n, stride_, count, buffers_.a.gain.data() + column + begin,
                           buffers_.a.minus.data(), panel);
        if (folded_)
          kernels.product_f32(panel, stride_, n, panel, stride_, n, count, Part::upper,
                              sums_at(column + begin), folded_sums_);
        if (packs_) {
          part = narrowed(column + begin);
          narrow(n, count, panel, part);
        }
      }
      if (packs_) cross_block(column + begin, count, part);
    }
  }

  void float_block(int column, int columns) {
    const GramKernels& kernels = current_kernels();
    const int n = rows_.rows;
    float* panel = buffers_.a.panel.data();
    if (stored_) {
      pack_fast(rows_, buffers_.ones.data(), zeros(), column, columns, panel);
      kernels.product_f32(panel, stride_, n, panel, stride_, n, columns, Part::upper,
                          sums_at(column), stored_sums_);
    }
    if (!folded_ && !packs_) return;
    if (folds(rows_) || !stored_)
      pack_fast(rows_, buffers_.a.gain.data(), buffers_.a.minus.data(), column, columns, panel);
    if (folded_)
      kernels.product_f32(panel, stride_, n, panel, stride_, n, columns, Part::upper,
                          sums_at(column), folded_sums_);
    if (!packs_) return;
    if (paired_) {
      std::uint32_t* pairs = narrowed(column);
      narrow(n, columns, panel, pairs);
      cross_block(column, columns, pairs);
    } else {
      cross_block(column, columns, reinterpret_cast<const std::uint32_t*>(panel));
    }
  }

  // Where the narrowed panel goes: to stay, or to scratch.
  std::uint32_t* narrowed(int column) {
    return pass_.keep != nullptr ? pass_.keep->panel(column) : buffers_.b.pairs.data();
  }

  // `words`: a panel of the folded rows as BF16 pairs, or as FP32 bits.
  void cross_block(int column, int columns, const std::uint32_t* words) {
    const GramKernels& kernels = current_kernels();
    const int lines = paired_ ? (columns + 1) / 2 : columns;
    if (pass_.keep != nullptr && words != pass_.keep->panel(column))
      std::copy_n(words, size(lines) * size(stride_), pass_.keep->panel(column));
    if (pass_.product == nullptr) return;
    const PackedRows& other = *pass_.other;
    const int other_stride = panel_stride(other.rows());
    if (paired_) {
      kernels.product_pairs(words, stride_, rows_.rows, other.panel(column), other_stride,
                            other.rows(), lines, Part::all, sums_at(column), cross_sums_);
    } else {
      kernels.product_f32(reinterpret_cast<const float*>(words), stride_, rows_.rows,
                          reinterpret_cast<const float*>(other.panel(column)), other_stride,
                          other.rows(), lines, Part::all, sums_at(column), cross_sums_);
    }
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
    if (pass_.product != nullptr) take_sums(cross_sums_, n, pass_.other->rows(), *pass_.product);
  }

  const float* zeros() {
    buffers_.b.minus.assign(size(padded_rows(rows_.rows)), 0.0F);
    return buffers_.b.minus.data();
  }

  const HeadRows& rows_;
  GramWorkspace::Buffers& buffers_;
  const GramPass& pass_;
  int stride_;
  bool paired_;  // this CPU multiplies BF16 pairs
  bool stored_;  // a Gram of the rows as they are is made
  bool folded_;  // and one of the folded rows
  bool packs_;
  double* stored_sums_ = nullptr;
  double* folded_sums_ = nullptr;
  double* cross_sums_ = nullptr;
  bool stored_fits_ = false;
  bool folded_fits_ = false;
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
  const std::size_t panels = size((width + kPanelColumns - 1) / kPanelColumns);
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
  GramWorkspace::Buffers& buffers = workspace.buffers();
  bool stored_fits = false;
  bool folded_fits = false;
  if (rows.element != Element::f64) {
    FastPass fast(rows, buffers, pass);
    fast.run();
    stored_fits = fast.stored_fits();
    folded_fits = fast.folded_fits();
  }
  if (!folded_fits && pass.keep != nullptr) pass.keep->clear();
  if (!folded_fits && pass.product != nullptr) *pass.product = Matrix();
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
  if (!fits(a, gram_a) || !fits(b, gram_b)) return precise_cross(a, b, workspace.buffers(), out);
  PackedRows packed;
  FastPass(b, workspace.buffers(), {.keep = &packed}).run();
  FastPass(a, workspace.buffers(), {.other = &packed, .product = &out}).run();
  return true;
}

}  // namespace ullage::spectrum
