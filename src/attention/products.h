// The reference's matrix products: every sum in the order that its Accumulation states.
//
// The loops run over terms outside and columns inside, so that each element's terms are added in
// ascending order whatever the vector width.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "attention/rounder.h"
#include "ullage/attention/recipe.h"

namespace ullage::attention {

// Element (i, t) of a matrix is data[i * row + t * column].
template <class Real>
struct Left {
  const Real* data;
  std::size_t row;
  std::size_t column;
};

// Rows are contiguous.
template <class Real>
struct Right {
  const Real* data;
  std::size_t row;
};

enum class Zeros : std::uint8_t {
  multiply,
  skip,  // a term whose left factor is 0 counts for nothing, even against infinity: masked keys
};

template <class Real>
class Products {
 public:
  // Scratch for results of up to `columns` columns.
  Products(const Accumulation& accumulation, std::size_t columns)
      : block_(accumulation.block), store_(accumulation.store, 0, 0), partial_(columns) {}

  // out (rows x columns, contiguous, overwritten) = left (rows x terms) right (terms x columns).
  void operator()(Left<Real> left, Right<Real> right, std::size_t rows, std::size_t terms,
                  std::size_t columns, Zeros zeros, Real* out);

  // The sum of one row of terms, as a product with ones would add it.
  Real sum(const Real* values, std::size_t count);

 private:
  std::size_t block_;
  Rounder<Real> store_;
  std::vector<Real> partial_;
};

extern template class Products<float>;
extern template class Products<double>;

}  // namespace ullage::attention
