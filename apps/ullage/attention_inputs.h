// Q, K, V and what belongs to them out of a safetensors file, for `ullage attention study`.
#pragma once

#include <optional>
#include <string>

#include "ullage/attention/made.h"
#include "ullage/base/result.h"

namespace ullage::apps {

struct InputOptions {
  bool causal = false;
  std::optional<std::size_t> window = {};  // with causal: the last keys that a query sees
  std::optional<double> scale = {};
  double soft_cap = 0;
};

// Tensors `q`, `k`, `v` and, where the file has them, `grad_output` and `x`: (heads, rows, columns)
// or (batch, heads, rows, columns), x (rows, columns) or (batch, rows, columns), of any real type.
Result<attention::StudyInputs> read_inputs(const std::string& path, const InputOptions& options);

}  // namespace ullage::apps
