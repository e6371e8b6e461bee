// Numbers out of a TensorStore: rows of weight matrices and vectors, decoded from any stored type,
// with FP8 scale tensors applied. Reads go through a fixed 64 KiB buffer on the stack; nothing is
// allocated.
#pragma once

#include <cstdint>
#include <span>

#include "ullage/base/result.h"
#include "ullage/checkpoint/store.h"

namespace ullage::checkpoint {

// How a weight lies on disk: nn.Linear stores [out, in], GPT-2's Conv1D [in, out].
enum class Layout : std::uint8_t { out_in, in_out };

struct WeightOptions {
  Layout layout = Layout::out_in;
  // FP8 blocks of `weight_scale_inv` (quantization_config.weight_block_size).
  std::uint64_t block_rows = 128;
  std::uint64_t block_columns = 128;
};

// A rank-2 tensor of real numbers as y = x W^T + b uses it: row r holds the weights of output r,
// whatever the order on disk. Holds references: the store must outlive it. Reads are thread-safe.
//
// FP8 weights NAME are multiplied by NAME_scale_inv or NAME_scale if the store has one: one number
// ([] or [1] or [1, 1]), one a stored row ([rows] or [rows, 1]), or one a block ([ceil(rows /
// block_rows), ceil(columns / block_columns)]), in any real type. Any other shape is an error.
class WeightMatrix {
 public:
  // Codes: dtype_unsupported (its type or its scale's holds no real numbers), size_mismatch (not of
  // rank 2, a scale that does not fit, two scales), value_invalid (an empty block), and those of
  // TensorStore::read.
  static Result<WeightMatrix> open(const TensorStore& store, const TensorInfo& tensor,
                                   const WeightOptions& options = {});

  std::uint64_t outputs() const { return outputs_; }
  std::uint64_t inputs() const { return inputs_; }
  const TensorInfo& tensor() const { return *tensor_; }
  Layout layout() const { return options_.layout; }
  bool stored_bf16() const { return tensor_->dtype == Dtype::bf16; }
  const TensorInfo* scale() const { return scale_; }

  // Rows [first, first + count) of W into out[i * stride + j], 0 <= i < count, 0 <= j < inputs().
  // `out` must hold (count - 1) * stride + inputs() numbers, stride >= inputs() (0 means inputs()).
  // NaN and infinities pass through. F64 beyond float's range becomes infinite in float: use double.
  // Codes: value_invalid (rows that are not there, `out` too small), and those of TensorStore::read.
  Status read(std::uint64_t first, std::uint64_t count, std::span<float> out,
              std::uint64_t stride = 0) const;
  Status read(std::uint64_t first, std::uint64_t count, std::span<double> out,
              std::uint64_t stride = 0) const;
  // The stored bits; dtype_unsupported unless stored_bf16().
  Status read_bf16(std::uint64_t first, std::uint64_t count, std::span<std::uint16_t> out,
                   std::uint64_t stride = 0) const;

 private:
  WeightMatrix(const TensorStore& store, const TensorInfo& tensor, const WeightOptions& options);
  template <class Number>
  friend class MatrixReader;

  const TensorStore* store_;
  const TensorInfo* tensor_;
  const TensorInfo* scale_ = nullptr;
  WeightOptions options_;
  std::uint64_t outputs_ = 0, inputs_ = 0;
  // Stored rows and columns that share one scale.
  std::uint64_t scale_rows_ = 0, scale_columns_ = 0;
};

// Elements [first, first + out.size()) of a tensor of any rank in C order: norm gains, biases,
// scales. FP8 is not scaled. Codes: dtype_unsupported where the type holds no real numbers,
// value_invalid where the range passes the end, and those of TensorStore::read.
Status read_elements(const TensorStore& store, const TensorInfo& tensor, std::uint64_t first,
                     std::span<double> out);
Status read_elements(const TensorStore& store, const TensorInfo& tensor, std::uint64_t first,
                     std::span<float> out);

}  // namespace ullage::checkpoint
