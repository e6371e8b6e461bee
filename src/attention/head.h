// One query head of one sequence: its operands as the recipe stores them, and tiles of its scores.
#pragma once

#include <cstddef>
#include <limits>
#include <vector>

#include "attention/products.h"
#include "attention/rounder.h"
#include "ullage/attention/problem.h"
#include "ullage/attention/recipe.h"

namespace ullage::attention {

// Queries [query, query + rows) and keys [key, key + keys) of a sequence.
struct Tile {
  std::size_t query = 0;
  std::size_t rows = 0;
  std::size_t key = 0;
  std::size_t keys = 0;
};

template <class Real>
class Head {
 public:
  static constexpr Real kMasked = -std::numeric_limits<Real>::infinity();

  // Reads K and V.
  Head(const Inputs<Real>& inputs, const Recipe& recipe, std::size_t sequence, std::size_t head,
       Rounders<Real>& rounders);

  [[nodiscard]] const Sequence& sequence() const { return sequence_; }
  [[nodiscard]] std::size_t width() const { return inputs_.shape.width; }
  [[nodiscard]] std::size_t value_width() const { return inputs_.shape.value_width; }

  // Row-major, contiguous, rounded; FP8 operands in units of their descales.
  [[nodiscard]] const std::vector<Real>& keys() const { return keys_; }      // keys x width
  [[nodiscard]] const std::vector<Real>& values() const { return values_; }  // keys x value_width
  [[nodiscard]] std::vector<Real> values_transposed() const;                 // value_width x keys

  [[nodiscard]] double query_descale() const { return query_descale_; }
  [[nodiscard]] double key_descale() const { return key_descale_; }
  [[nodiscard]] double value_descale() const { return value_descale_; }

  // rows x width of Q.
  void read_queries(std::size_t begin, std::size_t rows, Real* out);
  // rows x columns of a tensor shaped like Q or O, rounded as `quantity`.
  void read_rows(const View<const Real>& view, std::size_t begin, std::size_t rows,
                 std::size_t columns, Quantity quantity, Real* out);

  // S of the tile (rows x keys), kMasked where a query does not see a key. slope (may be null)
  // receives dS / d(scaled product): 1 - (S / cap)^2 before the bias, 1 without a cap.
  void scores(const Tile& tile, const Real* queries, Real* out, Real* slope);

  // Whether any query of the tile sees any of its keys by causality and window.
  [[nodiscard]] bool sees(const Tile& tile) const;

 private:
  void read_keys();

  const Inputs<Real>& inputs_;
  Sequence sequence_;
  std::size_t head_;
  std::size_t kv_head_;
  Rounders<Real>& rounders_;
  Products<Real> products_;
  double query_descale_ = 1;
  double key_descale_ = 1;
  double value_descale_ = 1;
  std::vector<Real> keys_;
  std::vector<Real> keys_transposed_;
  std::vector<Real> values_;
};

// Calls body(tile) on the key tiles of [0, keys) in ascending order.
template <class Body>
void for_tiles(std::size_t count, std::size_t step, const Body& body) {
  if (step == 0) step = count;
  for (std::size_t begin = 0; begin < count; begin += step)
    body(begin, count - begin < step ? count - begin : step);
}

extern template class Head<float>;
extern template class Head<double>;

}  // namespace ullage::attention
