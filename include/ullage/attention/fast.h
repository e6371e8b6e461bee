// Attention as fast as this CPU does it: FP32 and BF16 tensors, dispatched at run time.
//
// Tiled as in FlashAttention-2 (Dao, arXiv 2307.08691): scores exist for one tile at a time, memory is
// linear in queries + keys. BF16 tensors on AVX512-BF16: operands and P-bar in BF16, sums, softmax
// and O in FP32, one rounding at the end (the reference's bf16-flash). Elsewhere everything is FP32,
// BF16 tensors included. What the kernels do not do, the reference does: fast_path_reason says why.
//
// Results do not depend on the number of threads. Rows that see no key are 0 (L is -infinity); a NaN
// among the scores of a row makes that row NaN. A key that padding hides counts for nothing whatever
// it holds; a value that is not finite may reach queries to which causality or a window hides it.
// vdpbf16ps takes subnormal numbers for zero.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "ullage/attention/problem.h"
#include "ullage/attention/shift.h"
#include "ullage/attention/statistics.h"
#include "ullage/base/result.h"

namespace ullage::attention {

// Packed operands and partial sums, kept from call to call so that those need not ask for memory.
// One call at a time.
class FastWorkspace {
 public:
  FastWorkspace();
  ~FastWorkspace();
  FastWorkspace(FastWorkspace&&) noexcept;
  FastWorkspace& operator=(FastWorkspace&&) noexcept;

  struct Buffers;
  [[nodiscard]] Buffers& buffers() const { return *buffers_; }

 private:
  std::unique_ptr<Buffers> buffers_;
};

struct FastOptions {
  Shift shift = {};                    // standard or stabilised
  int threads = 0;                     // 0: default_threads(). Never changes a result.
  FastWorkspace* workspace = nullptr;  // null: memory of the call's own
};

// Where results go; rows and batches are indexed as Q's. Null views and empty spans are not written.
template <class T>
struct FastOutputs {
  View<T> output = {};
  View<float> log_sum_exp = {};  // at column 0
  // From the same pass, sums in FP32; at column 0.
  View<RowStatistics> statistics = {};
  // Reduced: batch x query_heads entries, row-major.
  std::span<HeadStatistics> heads = {};
};

// T is float or Bf16. Codes: value_invalid (inputs or shift that check() refuses, no output, `heads` of
// another size), resource (no memory for the scratch).
template <class T>
Status fast_forward(const Inputs<T>& inputs, const FastOptions& options,
                    const FastOutputs<T>& outputs);

// What the backward pass reads of the forward one.
template <class T>
struct FastSaved {
  View<const T> output = {};
  View<const float> log_sum_exp = {};
};

// Null views are not written.
template <class T>
struct FastGradients {
  View<T> q = {};
  View<T> k = {};
  View<T> v = {};
  View<float> delta = {};  // rowsum(dO o O), at column 0
};

// From dO: P = exp(S - L), dV = P^T dO, dS = P o (dO V^T - delta), dQ = scale dS K, dK = scale dS^T Q,
// times the cap's slope. On AVX512-BF16, P and dS enter their products as BF16; gradients are summed
// in FP32 and rounded once. Beside the packed tensors the pass holds FP32 copies of dQ (a few where
// there are few heads, one for each part of the keys) and, for grouped heads, of dK and dV. Codes as
// fast_forward; value_invalid too where dO, O or L is null.
template <class T>
Status fast_backward(const Inputs<T>& inputs, const FastOptions& options,
                     const View<const T>& grad_output, const FastSaved<T>& saved,
                     const FastGradients<T>& gradients);

// Empty where a fast kernel does it, else why the reference does, in words.
template <class T>
std::string fast_path_reason(const Inputs<T>& inputs, const FastOptions& options);

// "avx512_bf16", "avx512", "avx2": the kernels that tensors of this type get; "reference" on a CPU
// without any.
template <class T>
const char* fast_path_name();

}  // namespace ullage::attention
