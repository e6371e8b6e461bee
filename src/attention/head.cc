#include "attention/head.h"

#include "attention/elementary.h"

namespace ullage::attention {

namespace {

template <class Real>
std::vector<Real> transposed(const std::vector<Real>& matrix, std::size_t rows,
                             std::size_t columns) {
  std::vector<Real> out(matrix.size());
  for (std::size_t i = 0; i < rows; ++i) {
    for (std::size_t c = 0; c < columns; ++c) out[c * rows + i] = matrix[i * columns + c];
  }
  return out;
}

double descale_of(std::span<const float> descales, std::size_t index) {
  return descales.empty() ? 1.0 : static_cast<double>(descales[index]);
}

}  // namespace

template <class Real>
Head<Real>::Head(const Inputs<Real>& inputs, const Recipe& recipe, std::size_t sequence,
                 std::size_t head, Rounders<Real>& rounders)
    : inputs_(inputs),
      sequence_(sequence_of(inputs.shape, inputs.packed, sequence)),
      head_(head),
      kv_head_(head / inputs.shape.group()),
      rounders_(rounders),
      products_(recipe.scores, sequence_.keys) {
  const std::size_t index = sequence * inputs.shape.kv_heads + kv_head_;
  query_descale_ = descale_of(inputs.descales.q, index);
  key_descale_ = descale_of(inputs.descales.k, index);
  value_descale_ = descale_of(inputs.descales.v, index);
  read_keys();
}

template <class Real>
void Head<Real>::read_keys() {
  const auto read = [&](const View<const Real>& view, std::size_t columns, double descale,
                        Quantity quantity, std::vector<Real>& out) {
    Rounder<Real>& round = rounders_[quantity];
    out.resize(sequence_.keys * columns);
    for (std::size_t j = 0; j < sequence_.keys; ++j) {
      for (std::size_t c = 0; c < columns; ++c) {
        const Real x = view.at(sequence_.batch, kv_head_, sequence_.key_begin + j, c);
        out[j * columns + c] = round(descale == 1 ? x : static_cast<Real>(x / descale));
      }
    }
  };
  read(inputs_.k, width(), key_descale_, Quantity::k, keys_);
  read(inputs_.v, value_width(), value_descale_, Quantity::v, values_);
  keys_transposed_ = transposed(keys_, sequence_.keys, width());
}

template <class Real>
std::vector<Real> Head<Real>::values_transposed() const {
  return transposed(values_, sequence_.keys, value_width());
}

template <class Real>
void Head<Real>::read_rows(const View<const Real>& view, std::size_t begin, std::size_t rows,
                           std::size_t columns, Quantity quantity, Real* out) {
  Rounder<Real>& round = rounders_[quantity];
  for (std::size_t i = 0; i < rows; ++i) {
    for (std::size_t c = 0; c < columns; ++c)
      out[i * columns + c] =
          round(view.at(sequence_.batch, head_, sequence_.query_begin + begin + i, c));
  }
}

template <class Real>
void Head<Real>::read_queries(std::size_t begin, std::size_t rows, Real* out) {
  Rounder<Real>& round = rounders_[Quantity::q];
  for (std::size_t i = 0; i < rows; ++i) {
    for (std::size_t c = 0; c < width(); ++c) {
      const Real x = inputs_.q.at(sequence_.batch, head_, sequence_.query_begin + begin + i, c);
      out[i * width() + c] = round(query_descale_ == 1 ? x : static_cast<Real>(x / query_descale_));
    }
  }
}

template <class Real>
bool Head<Real>::sees(const Tile& tile) const {
  for (std::size_t i = 0; i < tile.rows; ++i) {
    const KeyRange range = visible_keys(inputs_.mask, sequence_, tile.query + i);
    if (range.begin < tile.key + tile.keys && range.end > tile.key) return true;
  }
  return false;
}

template <class Real>
void Head<Real>::scores(const Tile& tile, const Real* queries, Real* out, Real* slope) {
  products_({queries, width(), 1}, {keys_transposed_.data() + tile.key, sequence_.keys}, tile.rows,
            width(), tile.keys, Zeros::multiply, out);
  rounders_[Quantity::product]({out, tile.rows * tile.keys});
  const auto scale = static_cast<Real>(inputs_.score_scale() * query_descale_ * key_descale_);
  const auto cap = static_cast<Real>(inputs_.soft_cap);
  const std::uint8_t* padding =
      inputs_.mask.padding.empty()
          ? nullptr
          : inputs_.mask.padding.data() + sequence_.index * inputs_.shape.keys + tile.key;
  Rounder<Real>& round = rounders_[Quantity::score];
  for (std::size_t i = 0; i < tile.rows; ++i) {
    const KeyRange range = visible_keys(inputs_.mask, sequence_, tile.query + i);
    Real* row = out + i * tile.keys;
    Real* row_slope = slope == nullptr ? nullptr : slope + i * tile.keys;
    for (std::size_t j = 0; j < tile.keys; ++j) {
      const std::size_t key = tile.key + j;
      Real derivative = 1;
      if (key < range.begin || key >= range.end || (padding != nullptr && padding[j] == 0)) {
        row[j] = kMasked;
      } else {
        Real x = row[j] * scale;
        if (cap != 0) {
          const Real ratio = tanh_of(x / cap);
          derivative = 1 - ratio * ratio;
          x = cap * ratio;
        }
        if (inputs_.bias) x += inputs_.bias.at(sequence_.index, head_, tile.query + i, key);
        row[j] = round(x);
      }
      if (row_slope != nullptr) row_slope[j] = derivative;
    }
  }
}

template class Head<float>;
template class Head<double>;

}  // namespace ullage::attention
