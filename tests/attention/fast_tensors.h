// Problems for the fast kernels: tensors of either type in either layout, what attention of them is in
// FP64, and how far a plain implementation of the same precision is from that.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "tensors.h"
#include "ullage/attention/fast.h"
#include "ullage/base/cpu.h"
#include "ullage/formats/scalar.h"

namespace ullage::attention::testing {

inline Bf16 to_bf16(double x) {
  return {static_cast<std::uint16_t>(
      formats::encode(formats::kBf16, x, {.overflow = formats::Overflow::non_saturating}, 0))};
}

template <class T>
T narrowed(double x) {
  if constexpr (std::is_same_v<T, Bf16>) {
    return to_bf16(x);
  } else {
    return static_cast<T>(x);
  }
}
inline double widened(Bf16 x) { return static_cast<double>(x.value()); }
inline double widened(float x) { return static_cast<double>(x); }

// Unit roundoff of a tensor's elements.
template <class T>
constexpr double kUnit = std::is_same_v<T, Bf16> ? 0x1p-8 : 0x1p-24;

enum class Layout : std::uint8_t { bhnd, bnhd };

template <class T>
View<T> view_of(T* data, Layout layout, std::size_t heads, std::size_t rows, std::size_t columns) {
  if (layout == Layout::bhnd) return contiguous(data, heads, rows, columns);
  const auto head = static_cast<std::ptrdiff_t>(columns);
  const auto row = head * static_cast<std::ptrdiff_t>(heads);
  return {data, row * static_cast<std::ptrdiff_t>(rows), head, row, 1};
}

// The same numbers in a tensor of type T and layout, and in FP64 as T rounded them.
template <class T>
struct FastTensors {
  Tensors<double> exact;  // what the kernels' tensors hold
  Layout layout = Layout::bhnd;
  std::vector<T> q, k, v, grad_output;

  FastTensors(const Tensors<double>& numbers, Layout where) : exact(numbers), layout(where) {
    const Shape& s = exact.shape;
    const auto place = [&](std::vector<double>& from, std::vector<T>& to, std::size_t heads,
                           std::size_t rows, std::size_t columns) {
      to.resize(from.size());
      const View<T> view = view_of(to.data(), layout, heads, rows, columns);
      std::size_t e = 0;
      for (std::size_t b = 0; b < s.batch; ++b)
        for (std::size_t h = 0; h < heads; ++h)
          for (std::size_t i = 0; i < rows; ++i)
            for (std::size_t c = 0; c < columns; ++c, ++e) {
              view.at(b, h, i, c) = narrowed<T>(from[e]);
              from[e] = widened(view.at(b, h, i, c));
            }
    };
    place(exact.q, q, s.query_heads, s.queries, s.width);
    place(exact.k, k, s.kv_heads, s.keys, s.width);
    place(exact.v, v, s.kv_heads, s.keys, s.value_width);
    place(exact.grad_output, grad_output, s.query_heads, s.queries, s.value_width);
  }

  Inputs<T> inputs() const {
    const Shape& s = exact.shape;
    Inputs<T> in;
    in.shape = s;
    in.mask = exact.options.mask;
    in.mask.padding = exact.padding;
    in.scale = exact.options.scale;
    in.soft_cap = exact.options.soft_cap;
    in.packed = exact.options.packed;
    in.q = view_of(q.data(), layout, s.query_heads, s.queries, s.width);
    in.k = view_of(k.data(), layout, s.kv_heads, s.keys, s.width);
    in.v = view_of(v.data(), layout, s.kv_heads, s.keys, s.value_width);
    return in;
  }
};

// What fast_forward gives, in (batch, head, row, column) order.
struct FastResults {
  std::vector<double> output;
  std::vector<float> log_sum_exp;
  std::vector<RowStatistics> statistics;
  std::vector<HeadStatistics> heads;
};

template <class T>
FastResults run_fast(const FastTensors<T>& t, const FastOptions& options,
                     bool with_statistics = false) {
  const Shape& s = t.exact.shape;
  const std::size_t rows = s.batch * s.query_heads * s.queries;
  std::vector<T> output(rows * s.value_width, narrowed<T>(-7));
  FastResults r;
  r.log_sum_exp.assign(rows, -7);
  FastOutputs<T> out;
  out.output = view_of(output.data(), t.layout, s.query_heads, s.queries, s.value_width);
  out.log_sum_exp = contiguous(r.log_sum_exp.data(), s.query_heads, s.queries, 1);
  if (with_statistics) {
    r.statistics.resize(rows);
    r.heads.resize(s.batch * s.query_heads);
    out.statistics = contiguous(r.statistics.data(), s.query_heads, s.queries, 1);
    out.heads = r.heads;
  }
  const Inputs<T> inputs = t.inputs();
  const Status status = fast_forward(inputs, options, out);
  EXPECT_TRUE(status.ok()) << (status.ok() ? "" : status.error().message());
  for (std::size_t b = 0; b < s.batch; ++b)
    for (std::size_t h = 0; h < s.query_heads; ++h)
      for (std::size_t i = 0; i < s.queries; ++i)
        for (std::size_t c = 0; c < s.value_width; ++c)
          r.output.push_back(widened(out.output.at(b, h, i, c)));
  return r;
}

struct FastGradientsFound {
  std::vector<double> q, k, v;
  std::vector<float> delta;
};

// What fast_backward gives after fast_forward, in (batch, head, row, column) order.
template <class T>
FastGradientsFound run_fast_backward(const FastTensors<T>& t, const FastOptions& options) {
  const Shape& s = t.exact.shape;
  const std::size_t rows = s.batch * s.query_heads * s.queries;
  std::vector<T> output(rows * s.value_width);
  std::vector<float> log_sum_exp(rows);
  FastOutputs<T> out;
  out.output = view_of(output.data(), t.layout, s.query_heads, s.queries, s.value_width);
  out.log_sum_exp = contiguous(log_sum_exp.data(), s.query_heads, s.queries, 1);
  const Inputs<T> inputs = t.inputs();
  EXPECT_TRUE(fast_forward(inputs, options, out).ok());
  std::vector<T> q(t.q.size(), narrowed<T>(-7)), k(t.k.size(), narrowed<T>(-7)),
      v(t.v.size(), narrowed<T>(-7));
  FastGradientsFound r;
  r.delta.resize(rows);
  FastGradients<T> to;
  to.q = view_of(q.data(), t.layout, s.query_heads, s.queries, s.width);
  to.k = view_of(k.data(), t.layout, s.kv_heads, s.keys, s.width);
  to.v = view_of(v.data(), t.layout, s.kv_heads, s.keys, s.value_width);
  to.delta = contiguous(r.delta.data(), s.query_heads, s.queries, 1);
  const View<const T> grad =
      view_of<const T>(t.grad_output.data(), t.layout, s.query_heads, s.queries, s.value_width);
  const Status status = fast_backward(inputs, options, grad, {out.output, out.log_sum_exp}, to);
  EXPECT_TRUE(status.ok()) << (status.ok() ? "" : status.error().message());
  const auto read = [&](const View<T>& view, std::size_t heads, std::size_t count,
                        std::size_t columns, std::vector<double>& values) {
    for (std::size_t b = 0; b < s.batch; ++b)
      for (std::size_t h = 0; h < heads; ++h)
        for (std::size_t i = 0; i < count; ++i)
          for (std::size_t c = 0; c < columns; ++c) values.push_back(widened(view.at(b, h, i, c)));
  };
  read(to.q, s.query_heads, s.queries, s.width, r.q);
  read(to.k, s.kv_heads, s.keys, s.width, r.k);
  read(to.v, s.kv_heads, s.keys, s.value_width, r.v);
  return r;
}

// The plain form at the tensors' precision, as one writes it with arrays: S, P = softmax(S) and O each
// a whole array of the tensors' type, sums in FP32.
template <class T>
Recipe naive_recipe() {
  if (std::is_same_v<T, Bf16>) return bf16_standard();
  Recipe recipe = fp32();
  recipe.order = Order::two_pass;
  return recipe;
}

inline Tensors<float> in_fp32(const Tensors<double>& t) {
  Tensors<float> single;
  single.shape = t.shape;
  single.q = as<float>(t.q);
  single.k = as<float>(t.k);
  single.v = as<float>(t.v);
  single.grad_output = as<float>(t.grad_output);
  single.padding = t.padding;
  single.options.mask = t.options.mask;
  single.options.scale = t.options.scale;
  single.options.soft_cap = t.options.soft_cap;
  return single;
}

template <class T>
std::vector<double> naive_output(const Tensors<double>& t) {
  const auto r = run_forward(in_fp32(t), naive_recipe<T>());
  return {r.output.begin(), r.output.end()};
}

// NaN first: they must stand in the same places. Then the largest difference.
inline double worst_error(const std::vector<double>& exact, const std::vector<double>& got) {
  std::size_t misplaced = 0;
  for (std::size_t e = 0; e < exact.size(); ++e)
    misplaced += std::isnan(exact[e]) != std::isnan(got[e]) ? 1 : 0;
  EXPECT_EQ(misplaced, 0U);
  return largest_difference(exact, got);
}

inline double largest_size(const std::vector<double>& values) {
  double most = 0;
  for (const double x : values)
    if (std::isfinite(x)) most = std::max(most, std::fabs(x));
  return most;
}

// The paths that this CPU has a kernel for; the others are named as skipped.
inline std::vector<CpuPath> fast_paths() {
  std::vector<CpuPath> paths;
  for (const CpuPath path : {CpuPath::avx2, CpuPath::avx512, CpuPath::avx512_bf16}) {
    if (const auto why = refusal(path); why.empty()) {
      paths.push_back(path);
    } else {
      std::printf("skipped: %s: %s\n", name_of(path), why.c_str());
    }
  }
  return paths;
}

}  // namespace ullage::attention::testing
