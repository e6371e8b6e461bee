#include "attention/products.h"

#include <algorithm>

#include "ullage/base/cpu.h"

namespace ullage::attention {

namespace {

// out += weight row. One multiplication and one addition each, on every path: the build forbids
// contraction, so wider vectors change no bit.
template <class Real>
[[gnu::always_inline]] inline void add_scaled_body(Real weight, const Real* __restrict row,
                                                   std::size_t count, Real* __restrict out) {
  for (std::size_t c = 0; c < count; ++c) out[c] += weight * row[c];
}

template <class Real>
[[gnu::target("avx2")]] void add_scaled_avx2(Real weight, const Real* row, std::size_t count,
                                             Real* out) {
  add_scaled_body(weight, row, count, out);
}

template <class Real>
void add_scaled_portable(Real weight, const Real* row, std::size_t count, Real* out) {
  add_scaled_body(weight, row, count, out);
}

template <class Real>
using AddScaled = void (*)(Real, const Real*, std::size_t, Real*);

template <class Real>
AddScaled<Real> choose_add_scaled() {
  return cpu_path() == CpuPath::portable ? add_scaled_portable<Real> : add_scaled_avx2<Real>;
}

// The same with a rounding after each addition.
template <class Real>
void add_scaled_rounded(Real weight, const Real* row, std::size_t count, Real* out,
                        Rounder<Real>& store) {
  for (std::size_t c = 0; c < count; ++c) out[c] = store(out[c] + weight * row[c]);
}

}  // namespace

template <class Real>
void Products<Real>::operator()(Left<Real> left, Right<Real> right, std::size_t rows,
                                std::size_t terms, std::size_t columns, Zeros zeros, Real* out) {
  const AddScaled<Real> add_scaled = choose_add_scaled<Real>();
  const bool exact = store_.changes_nothing();
  const std::size_t block = block_ == 0 ? terms : block_;
  for (std::size_t i = 0; i < rows; ++i) {
    Real* total = out + i * columns;
    std::fill_n(total, columns, Real{0});
    for (std::size_t begin = 0; begin < terms; begin += block) {
      const std::size_t end = std::min(terms, begin + block);
      // The first block's sum is the total so far: 0 + x is x.
      Real* sums = begin == 0 ? total : partial_.data();
      bool any = begin == 0;
      for (std::size_t t = begin; t < end; ++t) {
        const Real factor = left.data[i * left.row + t * left.column];
        if (zeros == Zeros::skip && factor == 0) continue;
        if (!any) std::fill_n(sums, columns, Real{0});
        any = true;
        const Real* row = right.data + t * right.row;
        if (exact)
          add_scaled(factor, row, columns, sums);
        else
          add_scaled_rounded(factor, row, columns, sums, store_);
      }
      if (begin == 0 || !any) continue;
      for (std::size_t c = 0; c < columns; ++c) total[c] = store_(total[c] + sums[c]);
    }
  }
}

template <class Real>
Real Products<Real>::sum(const Real* values, std::size_t count) {
  const std::size_t block = block_ == 0 ? count : block_;
  Real total = 0;
  for (std::size_t begin = 0; begin < count; begin += block) {
    Real part = 0;
    for (std::size_t t = begin; t < std::min(count, begin + block); ++t)
      part = store_(part + values[t]);
    total = begin == 0 ? part : store_(total + part);
  }
  return total;
}

template class Products<float>;
template class Products<double>;

}  // namespace ullage::attention
