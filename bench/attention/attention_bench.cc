// Plain C functions over the fast kernels, for run.py, and the CPU's BF16 peak.
//
// Tensors are (batch, head, row, column) without gaps; element 0 is BF16, 1 FP32.
#include <cstdint>
#include <vector>

#include "ullage/attention/fast.h"
#include "ullage/base/cpu.h"
#include "ullage/base/parallel.h"

using namespace ullage;
using namespace ullage::attention;

extern "C" {

struct BenchShape {
  std::int64_t batch, query_heads, kv_heads, queries, keys, width;
  std::int32_t is_causal, stabilised, statistics, threads;
};
}

namespace {

FastWorkspace& workspace() {
  static FastWorkspace kept;
  return kept;
}

template <class T>
Inputs<T> inputs_of(const BenchShape& shape, const void* q, const void* k, const void* v) {
  const auto size = [](std::int64_t n) { return static_cast<std::size_t>(n); };
  Inputs<T> in;
  in.shape = {size(shape.batch), size(shape.query_heads), size(shape.kv_heads), size(shape.queries),
              size(shape.keys),  size(shape.width),       size(shape.width)};
  in.q =
      contiguous(static_cast<const T*>(q), in.shape.query_heads, in.shape.queries, in.shape.width);
  in.k = contiguous(static_cast<const T*>(k), in.shape.kv_heads, in.shape.keys, in.shape.width);
  in.v = contiguous(static_cast<const T*>(v), in.shape.kv_heads, in.shape.keys, in.shape.width);
  if (shape.is_causal != 0) in.mask = causal();
  return in;
}

FastOptions options_of(const BenchShape& shape) {
  FastOptions options;
  if (shape.stabilised != 0) options.shift.rule = ShiftRule::stabilised;
  options.threads = shape.threads;
  options.workspace = &workspace();
  return options;
}

template <class T>
int forward(const BenchShape& shape, const void* q, const void* k, const void* v, void* output,
            float* log_sum_exp) {
  const Inputs<T> in = inputs_of<T>(shape, q, k, v);
  std::vector<HeadStatistics> heads(shape.statistics != 0 ? in.shape.batch * in.shape.query_heads
                                                          : 0);
  FastOutputs<T> out;
  out.output = contiguous(static_cast<T*>(output), in.shape.query_heads, in.shape.queries,
                          in.shape.value_width);
  out.log_sum_exp = contiguous(log_sum_exp, in.shape.query_heads, in.shape.queries, 1);
  out.heads = heads;
  return fast_forward(in, options_of(shape), out).ok() ? 0 : 1;
}

struct BackwardTensors {
  const void *q, *k, *v, *grad_output, *output;
  const float* log_sum_exp;
  void *grad_q, *grad_k, *grad_v;
};

template <class T>
int backward(const BenchShape& shape, const BackwardTensors& t) {
  const Inputs<T> in = inputs_of<T>(shape, t.q, t.k, t.v);
  const Shape& s = in.shape;
  const auto like_q = [&]<class U>(U* data) {
    return contiguous(data, s.query_heads, s.queries, s.width);
  };
  const auto like_k = [&]<class U>(U* data) {
    return contiguous(data, s.kv_heads, s.keys, s.width);
  };
  const FastSaved<T> saved = {like_q(static_cast<const T*>(t.output)),
                              contiguous(t.log_sum_exp, s.query_heads, s.queries, 1)};
  const FastGradients<T> to = {like_q(static_cast<T*>(t.grad_q)),
                               like_k(static_cast<T*>(t.grad_k)),
                               like_k(static_cast<T*>(t.grad_v)),
                               {}};
  const View<const T> grad = like_q(static_cast<const T*>(t.grad_output));
  return fast_backward(in, options_of(shape), grad, saved, to).ok() ? 0 : 1;
}

}  // namespace

extern "C" {

int attention_backward(const BenchShape* shape, int element, const BackwardTensors* tensors) {
  return element == 0 ? backward<Bf16>(*shape, *tensors) : backward<float>(*shape, *tensors);
}

int attention_forward(const BenchShape* shape, int element, const void* q, const void* k,
                      const void* v, void* output, float* log_sum_exp) {
  return element == 0 ? forward<Bf16>(*shape, q, k, v, output, log_sum_exp)
                      : forward<float>(*shape, q, k, v, output, log_sum_exp);
}

const char* attention_path(int element) {
  return element == 0 ? fast_path_name<Bf16>() : fast_path_name<float>();
}
}
