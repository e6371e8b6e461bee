// Bounds from above on the length of what an embedding feeds to layer 0, rounded up; tables are streamed.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "checkpoint/attention_reader.h"

namespace ullage::checkpoint {

// Largest row of an embedding table, through `projection` (a Linear, or nullptr) to `width` numbers.
Result<double> token_norm_bound(const Tower& tower, const TensorInfo& table,
                                const TensorInfo* projection, int width);

// |P (g o n + b) + p| over all n that a LayerNorm can produce, P and p the projection's weight and bias.
Result<double> projected_norm_bound(const Tower& tower, const std::string& norm,
                                    const TensorInfo& projection, int width);

// |A|_2 from above, of a matrix that comes row by row.
//
// With up to kMaxGramWidth columns through the Gram matrix G = A^T A in double: for n summed rows the
// computed G^ is within n u / (1 - n u) tr(G) of G in the 2-norm (u = 2^-53), and tau bounds its largest
// eigenvalue once the Cholesky factorisation of tau I - G^ runs through, up to 2 (w + 1) u w tau (w
// columns). Wider: the Frobenius norm.
class NormBound {
 public:
  static constexpr int kMaxGramWidth = 1024;
  // Seconds of work; beyond, the Frobenius norm. The largest projections of embeddings take a tenth.
  static constexpr double kMaxGramProducts = 2e10;
  explicit NormBound(int columns);
  void add_row(std::span<const double> row);
  double value() const;

 private:
  int columns_;
  std::size_t rows_ = 0;
  double trace_ = 0;
  std::vector<double> gram_;  // lower triangle of [columns, columns]
};

}  // namespace ullage::checkpoint
