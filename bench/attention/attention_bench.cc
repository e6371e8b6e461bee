// Plain C functions over the fast kernels, for run.py, and the CPU's BF16 peak.
//
// Tensors are (batch, head, row, column) without gaps; element 0 is BF16, 1 FP32.
// GCC 12's own headers pass "undefined" vectors to masked built-ins and warn of it (GCC bug 105593).
#pragma GCC diagnostic ignored "-Wuninitialized"
#ifndef __clang__
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>

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

// 8 x 2 sums, as the kernels have them, of operands that stay in the first-level cache.
constexpr int kPeakSteps = 64;

__attribute__((target("avx512f,avx512bf16"))) float bf16_loop(const std::uint32_t* left,
                                                              const std::uint32_t* right,
                                                              int repeats) {
  __m512 sums[8][2];
#pragma GCC unroll 8
  for (auto& row : sums) row[0] = row[1] = _mm512_setzero_ps();
  for (int n = 0; n < repeats; ++n) {
    for (int k = 0; k < kPeakSteps; ++k) {
      const auto first = reinterpret_cast<__m512bh>(_mm512_loadu_si512(right + 32 * k));
      const auto second = reinterpret_cast<__m512bh>(_mm512_loadu_si512(right + 32 * k + 16));
#pragma GCC unroll 8
      for (int i = 0; i < 8; ++i) {
        const auto a =
            reinterpret_cast<__m512bh>(_mm512_set1_epi32(static_cast<int>(left[8 * k + i])));
        sums[i][0] = _mm512_dpbf16_ps(sums[i][0], a, first);
        sums[i][1] = _mm512_dpbf16_ps(sums[i][1], a, second);
      }
    }
  }
  __m512 total = _mm512_setzero_ps();
  for (const auto& row : sums) total = _mm512_add_ps(total, _mm512_add_ps(row[0], row[1]));
  return _mm512_reduce_add_ps(total);
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

// Runs vdpbf16ps alone on so many threads; returns its operations, 0 where the CPU lacks it.
double attention_bf16_peak(int threads) {
  if (!refusal(CpuPath::avx512_bf16).empty()) return 0;
  constexpr int kRepeats = 20000;
  const std::vector<std::uint32_t> left(8 * kPeakSteps, 0x3F803F80);
  const std::vector<std::uint32_t> right(32 * kPeakSteps, 0x3C003C00);
  parallel_for(static_cast<std::size_t>(threads), threads, [&](std::size_t, int) {
    volatile float kept = bf16_loop(left.data(), right.data(), kRepeats);
    (void)kept;
  });
  return 64.0 * 16 * kPeakSteps * kRepeats * threads;
}

const char* attention_path(int element) {
  return element == 0 ? fast_path_name<Bf16>() : fast_path_name<float>();
}
}
