#include "ullage/checkpoint/weights.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <initializer_list>
#include <optional>
#include <string>
#include <type_traits>

#include "checkpoint/decode.h"
#include "ullage/base/checked.h"

namespace ullage::checkpoint {
namespace {

constexpr std::size_t kBufferBytes = 64 << 10;  // fits L2 with what it is decoded to; on the stack

Error not_real(const TensorStore& store, const TensorInfo& tensor) {
  return {Code::dtype_unsupported, "its type holds no weights that can be read as numbers",
          store.describe(tensor), "F64, F32, F16, BF16 or an 8-bit float", name_of(tensor.dtype)};
}

Error past_end(const TensorStore& store, const TensorInfo& tensor, const char* unit,
               std::uint64_t most, std::uint64_t first, std::uint64_t count) {
  return {Code::value_invalid, std::string("a read passes the end: ") + unit,
          store.describe(tensor), "at most " + std::to_string(most),
          std::to_string(count) + " from " + std::to_string(first)};
}

template <class Number>
Status read_elements_as(const TensorStore& store, const TensorInfo& tensor, std::uint64_t first,
                        std::span<Number> out) {
  if (!is_real(tensor.dtype)) return not_real(store, tensor);
  const std::uint64_t elements = tensor.elements();
  if (first > elements || out.size() > elements - first)
    return past_end(store, tensor, "elements", elements, first, out.size());
  const std::size_t size = bits_of(tensor.dtype) / 8;
  alignas(64) std::byte buffer[kBufferBytes];
  while (!out.empty()) {
    const std::size_t count = std::min(out.size(), kBufferBytes / size);
    const auto bytes = std::span(buffer).first(count * size);
    ULLAGE_TRY(store.read(tensor, first * size, bytes));
    ULLAGE_TRY(decode(tensor.dtype, bytes, out.first(count)));
    first += count;
    out = out.subspan(count);
  }
  return {};
}

// The numbers of a scale tensor, a window at a time: rows that share a scale ask for the same ones.
class ScaleWindow {
 public:
  ScaleWindow(const TensorStore& store, const TensorInfo& tensor)
      : store_(store), tensor_(tensor) {}

  // scale[at] in C order.
  Result<double> get(std::uint64_t at) {
    if (at < first_ || at >= first_ + count_) {
      first_ = at;
      count_ = std::min<std::uint64_t>(values_.size(), tensor_.elements() - at);
      ULLAGE_TRY(read_elements(store_, tensor_, first_, std::span(values_).first(count_)));
    }
    return values_[at - first_];
  }

 private:
  const TensorStore& store_;
  const TensorInfo& tensor_;
  std::uint64_t first_ = 0, count_ = 0;
  std::array<double, 1024> values_;
};

// How many stored rows and columns share one number of a scale tensor of this shape; 0, 0 if it fits
// neither. `shape` of the weight has rank 2 and no zeros.
std::array<std::uint64_t, 2> scale_block(std::span<const std::uint64_t> scale, std::uint64_t rows,
                                         std::uint64_t columns, const WeightOptions& options) {
  const auto is = [&](std::initializer_list<std::uint64_t> shape) {
    return std::equal(scale.begin(), scale.end(), shape.begin(), shape.end());
  };
  const auto blocks = [](std::uint64_t size, std::uint64_t block) {
    return size / block + (size % block != 0 ? 1 : 0);
  };
  if (is({}) || is({1}) || is({1, 1})) return {rows, columns};
  if (is({rows}) || is({rows, 1})) return {1, columns};
  if (is({blocks(rows, options.block_rows), blocks(columns, options.block_columns)}))
    return {options.block_rows, options.block_columns};
  return {0, 0};
}

// A scale tensor of the wrong shape; says too when its first values are no numbers, which may be the cause.
Error scale_misfit(const TensorStore& store, const TensorInfo& tensor, const TensorInfo& scale,
                   const WeightOptions& options) {
  std::array<double, 1024> values;
  const auto known =
      std::span(values).first(std::min<std::uint64_t>(values.size(), scale.elements()));
  const Status status = read_elements_as(store, scale, 0, known);
  if (!status.ok()) return status.error();
  const bool finite =
      std::all_of(known.begin(), known.end(), [](double value) { return std::isfinite(value); });
  return {Code::size_mismatch,
          "the shape of this scale tensor does not fit its weight " + shape_text(tensor.shape) +
              (finite ? "" : ", and it holds NaN or infinite values"),
          store.describe(scale),
          "one number, one a row, or one a block of " + std::to_string(options.block_rows) + " x " +
              std::to_string(options.block_columns),
          shape_text(scale.shape)};
}

}  // namespace

Status read_elements(const TensorStore& store, const TensorInfo& tensor, std::uint64_t first,
                     std::span<double> out) {
  return read_elements_as(store, tensor, first, out);
}

Status read_elements(const TensorStore& store, const TensorInfo& tensor, std::uint64_t first,
                     std::span<float> out) {
  return read_elements_as(store, tensor, first, out);
}

WeightMatrix::WeightMatrix(const TensorStore& store, const TensorInfo& tensor,
                           const WeightOptions& options)
    : store_(&store), tensor_(&tensor), options_(options) {
  outputs_ = tensor.shape[options.layout == Layout::out_in ? 0 : 1];
  inputs_ = tensor.shape[options.layout == Layout::out_in ? 1 : 0];
}

Result<WeightMatrix> WeightMatrix::open(const TensorStore& store, const TensorInfo& tensor,
                                        const WeightOptions& options) {
  if (!is_real(tensor.dtype)) return not_real(store, tensor);
  if (tensor.shape.size() != 2)
    return Error{Code::size_mismatch, "a weight matrix must have two dimensions",
                 store.describe(tensor), "2", shape_text(tensor.shape)};
  if (options.block_rows == 0 || options.block_columns == 0)
    return Error{Code::value_invalid,
                 "the block of a scale tensor is empty",
                 store.describe(tensor),
                 {},
                 {}};
  WeightMatrix matrix(store, tensor, options);
  if (!is_fp8(tensor.dtype)) return matrix;
  const std::string name(tensor.name);
  for (const char* suffix : {"_scale_inv", "_scale"}) {
    const TensorInfo* scale = store.find(name + suffix);
    if (scale == nullptr) continue;
    if (matrix.scale_ != nullptr)
      return Error{Code::size_mismatch, "the weight has two scale tensors", store.describe(tensor),
                   "one", std::string(matrix.scale_->name) + " and " + std::string(scale->name)};
    matrix.scale_ = scale;
  }
  if (matrix.scale_ == nullptr) return matrix;
  if (!is_real(matrix.scale_->dtype)) return not_real(store, *matrix.scale_);
  const std::uint64_t rows = tensor.shape[0], columns = tensor.shape[1];
  const auto block = scale_block(matrix.scale_->shape, rows, columns, options);
  if (block[0] == 0 && rows != 0 && columns != 0)
    return scale_misfit(store, tensor, *matrix.scale_, options);
  matrix.scale_rows_ = block[0];
  matrix.scale_columns_ = block[1];
  return matrix;
}

// Reads rows of one matrix as numbers, or as the stored bits of BF16 (Number is std::uint16_t).
template <class Number>
class MatrixReader {
 public:
  explicit MatrixReader(const WeightMatrix& matrix)
      : matrix_(matrix),
        store_(*matrix.store_),
        tensor_(*matrix.tensor_),
        size_(bits_of(tensor_.dtype) / 8),
        columns_(tensor_.shape[1]) {
    if (matrix.scale_ != nullptr) scales_.emplace(store_, *matrix.scale_);
  }

  Status read(std::uint64_t first, std::uint64_t count, std::span<Number> out,
              std::uint64_t stride) {
    if (first > matrix_.outputs_ || count > matrix_.outputs_ - first)
      return past_end(store_, tensor_, "rows", matrix_.outputs_, first, count);
    if (count == 0 || matrix_.inputs_ == 0) return {};
    if (stride == 0) stride = matrix_.inputs_;
    const auto last_row = checked_multiply(count - 1, stride);
    const auto needed = last_row ? checked_add(*last_row, matrix_.inputs_) : std::nullopt;
    if (stride < matrix_.inputs_ || !needed || *needed > out.size())
      return Error{Code::value_invalid, "the rows do not fit the memory given for them",
                   store_.describe(tensor_),
                   std::to_string(count) + " rows of " + std::to_string(matrix_.inputs_),
                   std::to_string(out.size()) + " numbers in steps of " + std::to_string(stride)};
    first_ = first;
    count_ = count;
    out_ = out;
    stride_ = stride;
    if (matrix_.options_.layout == Layout::in_out) return read_columns();
    return stored_as_is() ? copy_rows() : read_rows();
  }

 private:
  static constexpr std::size_t kPanelRows =
      8;  // stored rows transposed together: whole cache lines of
  static constexpr std::size_t kTileColumns = 256;  // float are written, and a tile fits L1

  bool stored_as_is() const {
    if constexpr (std::is_same_v<Number, std::uint16_t>) return true;
    const Dtype same = std::is_same_v<Number, float> ? Dtype::f32 : Dtype::f64;
    return tensor_.dtype == same && !scales_;
  }

  // [out, in] whose bytes are the numbers.
  Status copy_rows() {
    const std::uint64_t begin = first_ * columns_ * size_;
    if (stride_ == columns_)
      return store_.read(tensor_, begin, std::as_writable_bytes(out_.first(count_ * columns_)));
    for (std::uint64_t i = 0; i < count_; ++i)
      ULLAGE_TRY(store_.read(tensor_, begin + i * columns_ * size_,
                             std::as_writable_bytes(out_.subspan(i * stride_, columns_))));
    return {};
  }

  // [out, in]: the rows are one range of the file; a buffer of it may hold part of a row, or several.
  Status read_rows() {
    alignas(64) std::byte buffer[kBufferBytes];
    std::uint64_t at = first_ * columns_;
    const std::uint64_t end = at + count_ * columns_;
    while (at < end) {
      const std::size_t count = std::min<std::uint64_t>(end - at, kBufferBytes / size_);
      ULLAGE_TRY(store_.read(tensor_, at * size_, std::span(buffer).first(count * size_)));
      const bool joined = stride_ == columns_ && !scales_;  // one range in memory too
      for (std::size_t done = 0; done < count;) {
        const std::uint64_t row = (at + done) / columns_, column = (at + done) % columns_;
        const std::size_t length =
            joined ? count : std::min<std::uint64_t>(count - done, columns_ - column);
        ULLAGE_TRY(decode_segment(std::span(buffer).subspan(done * size_, length * size_), row,
                                  column, out_.subspan((row - first_) * stride_ + column, length)));
        done += length;
      }
      at += count;
    }
    return {};
  }

  // [in, out]: a row of W is a column of the file. Panels of stored rows are read (of all their columns
  // at once where most are wanted, else a segment of each), decoded and transposed.
  Status read_columns() {
    alignas(64) std::byte buffer[kBufferBytes];
    const std::uint64_t rows = tensor_.shape[0];
    const std::uint64_t width =
        std::min<std::uint64_t>(count_, kBufferBytes / (kPanelRows * size_));
    for (std::uint64_t done = 0; done < count_; done += width) {
      const std::uint64_t wanted = std::min(width, count_ - done);
      const std::uint64_t column = first_ + done;
      const bool whole = wanted * 4 >= columns_ && columns_ <= kBufferBytes / (kPanelRows * size_);
      const std::uint64_t step = whole ? columns_ : wanted;  // elements between rows in the buffer
      for (std::uint64_t row = 0; row < rows; row += kPanelRows) {
        const std::uint64_t panel = std::min<std::uint64_t>(kPanelRows, rows - row);
        const std::uint64_t reads = whole ? 1 : panel;
        const std::uint64_t length = whole ? (panel - 1) * columns_ + wanted : wanted;
        for (std::uint64_t i = 0; i < reads; ++i)
          ULLAGE_TRY(store_.read(tensor_, ((row + i) * columns_ + column) * size_,
                                 std::span(buffer).subspan(i * step * size_, length * size_)));
        for (std::uint64_t tile = 0; tile < wanted; tile += kTileColumns) {
          const std::uint64_t tile_width = std::min<std::uint64_t>(kTileColumns, wanted - tile);
          ULLAGE_TRY(transpose_tile(std::span<const std::byte>(buffer).subspan(tile * size_), step,
                                    row, panel, column + tile, tile_width));
        }
      }
    }
    return {};
  }

  // Stored rows [row, row + panel), columns [column, column + width), `step` elements apart in `bytes`.
  Status transpose_tile(std::span<const std::byte> bytes, std::uint64_t step, std::uint64_t row,
                        std::uint64_t panel, std::uint64_t column, std::uint64_t width) {
    std::array<Number, kPanelRows * kTileColumns> tile;
    for (std::uint64_t i = 0; i < panel; ++i)
      ULLAGE_TRY(decode_segment(bytes.subspan(i * step * size_, width * size_), row + i, column,
                                std::span(tile).subspan(i * kTileColumns, width)));
    for (std::uint64_t j = 0; j < width; ++j) {
      Number* const to = out_.data() + (column + j - first_) * stride_ + row;
      for (std::uint64_t i = 0; i < panel; ++i) to[i] = tile[i * kTileColumns + j];
    }
    return {};
  }

  // Elements of stored row `row` from `column` on. FP8 codes times scales are products of doubles (exact
  // for a scale of at most 49 bits), rounded once into float.
  Status decode_segment(std::span<const std::byte> bytes, std::uint64_t row, std::uint64_t column,
                        std::span<Number> out) {
    if constexpr (std::is_same_v<Number, std::uint16_t>) {
      std::memcpy(out.data(), bytes.data(), bytes.size());
      return {};
    } else {
      if (!scales_) return decode(tensor_.dtype, bytes, out);
      const std::uint64_t block = matrix_.scale_columns_;
      const std::uint64_t scale_row = row / matrix_.scale_rows_ * ((columns_ - 1) / block + 1);
      std::array<double, 2048> values;
      while (!out.empty()) {
        const std::size_t count = std::min(out.size(), values.size());
        ULLAGE_TRY(decode(tensor_.dtype, bytes.first(count), std::span(values).first(count)));
        for (std::size_t i = 0; i < count;) {
          ULLAGE_ASSIGN(const double scale, scales_->get(scale_row + (column + i) / block));
          const std::size_t stop = std::min<std::uint64_t>(count, i + block - (column + i) % block);
          for (; i < stop; ++i) out[i] = static_cast<Number>(values[i] * scale);
        }
        bytes = bytes.subspan(count);
        out = out.subspan(count);
        column += count;
      }
      return {};
    }
  }

  const WeightMatrix& matrix_;
  const TensorStore& store_;
  const TensorInfo& tensor_;
  std::size_t size_;       // bytes of a stored element
  std::uint64_t columns_;  // of the stored matrix
  std::optional<ScaleWindow> scales_;
  std::uint64_t first_ = 0, count_ = 0, stride_ = 0;  // rows asked for, and where they go
  std::span<Number> out_;
};

Status WeightMatrix::read(std::uint64_t first, std::uint64_t count, std::span<float> out,
                          std::uint64_t stride) const {
  return MatrixReader<float>(*this).read(first, count, out, stride);
}

Status WeightMatrix::read(std::uint64_t first, std::uint64_t count, std::span<double> out,
                          std::uint64_t stride) const {
  return MatrixReader<double>(*this).read(first, count, out, stride);
}

Status WeightMatrix::read_bf16(std::uint64_t first, std::uint64_t count,
                               std::span<std::uint16_t> out, std::uint64_t stride) const {
  if (!stored_bf16())
    return Error{Code::dtype_unsupported, "these weights are not stored as BF16",
                 store_->describe(*tensor_), "BF16", name_of(tensor_->dtype)};
  return MatrixReader<std::uint16_t>(*this).read(first, count, out, stride);
}

}  // namespace ullage::checkpoint
