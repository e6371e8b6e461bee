// Attention problems with owned tensors, and the textbook form of attention to compare with.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include "ullage/attention/reference.h"

namespace ullage::attention::testing {

template <class Real>
struct Tensors {
  Shape shape;
  std::vector<Real> q, k, v, grad_output;
  std::vector<Real> bias;   // query_heads x queries x keys, all batches alike
  std::vector<Real> sinks;  // query_heads
  std::vector<std::uint8_t> padding;
  Inputs<Real> options;  // mask, scale, soft_cap

  Inputs<Real> inputs() const {
    Inputs<Real> in = options;
    in.shape = shape;
    in.q = contiguous(q.data(), shape.query_heads, shape.queries, shape.width);
    in.k = contiguous(k.data(), shape.kv_heads, shape.keys, shape.width);
    in.v = contiguous(v.data(), shape.kv_heads, shape.keys, shape.value_width);
    if (!bias.empty()) {
      in.bias = contiguous(bias.data(), shape.query_heads, shape.queries, shape.keys);
      in.bias.batch = 0;
    }
    in.sinks = sinks;
    in.mask.padding = padding;
    return in;
  }
  View<const Real> grad_view() const {
    return contiguous(grad_output.data(), shape.query_heads, shape.queries, shape.value_width);
  }
};

template <class Real>
struct Results {
  std::vector<Real> output, log_sum_exp, twin, q, k, v, delta, sinks;
  std::vector<RowStatistics> statistics;
  std::vector<std::uint32_t> ones;
};

inline std::vector<double> normals(std::size_t count, unsigned seed, double scale = 1) {
  std::mt19937_64 engine(seed);
  std::normal_distribution<double> normal(0, scale);
  std::vector<double> out(count);
  for (double& x : out) x = normal(engine);
  return out;
}

template <class To>
std::vector<To> as(const std::vector<double>& values) {
  return {values.begin(), values.end()};
}

template <class Real>
Tensors<Real> random_tensors(const Shape& shape, unsigned seed, double scale = 1) {
  Tensors<Real> t;
  t.shape = shape;
  const std::size_t q = shape.batch * shape.query_heads * shape.queries;
  const std::size_t k = shape.batch * shape.kv_heads * shape.keys;
  t.q = as<Real>(normals(q * shape.width, seed * 4 + 1, scale));
  t.k = as<Real>(normals(k * shape.width, seed * 4 + 2, scale));
  t.v = as<Real>(normals(k * shape.value_width, seed * 4 + 3));
  t.grad_output = as<Real>(normals(q * shape.value_width, seed * 4 + 4));
  return t;
}

template <class Real>
Outputs<Real> outputs_of(const Shape& shape, Results<Real>& r) {
  const std::size_t rows = shape.batch * shape.query_heads * shape.queries;
  r.output.assign(rows * shape.value_width, Real(-7));
  r.twin.assign(rows * shape.value_width, Real(-7));
  r.log_sum_exp.assign(rows, Real(-7));
  r.statistics.assign(rows, {});
  r.ones.assign(rows, 0);
  Outputs<Real> out;
  out.output = contiguous(r.output.data(), shape.query_heads, shape.queries, shape.value_width);
  out.twin = contiguous(r.twin.data(), shape.query_heads, shape.queries, shape.value_width);
  out.log_sum_exp = contiguous(r.log_sum_exp.data(), shape.query_heads, shape.queries, 1);
  out.statistics = contiguous(r.statistics.data(), shape.query_heads, shape.queries, 1);
  out.ones = contiguous(r.ones.data(), shape.query_heads, shape.queries, 1);
  return out;
}

template <class Real>
Results<Real> run_forward(const Tensors<Real>& t, const Recipe& recipe,
                          const Options& options = {}) {
  Results<Real> r;
  const Status status = forward(t.inputs(), recipe, options, outputs_of(t.shape, r));
  EXPECT_TRUE(status.ok()) << (status.ok() ? "" : status.error().message());
  return r;
}

// Forward, then backward.
template <class Real>
Results<Real> run_both(const Tensors<Real>& t, const Recipe& recipe, const Options& options = {}) {
  Results<Real> r = run_forward(t, recipe, options);
  const Outputs<Real> out = [&] {
    Outputs<Real> o;
    o.output =
        contiguous(r.output.data(), t.shape.query_heads, t.shape.queries, t.shape.value_width);
    o.twin = contiguous(r.twin.data(), t.shape.query_heads, t.shape.queries, t.shape.value_width);
    o.log_sum_exp = contiguous(r.log_sum_exp.data(), t.shape.query_heads, t.shape.queries, 1);
    return o;
  }();
  r.q.assign(t.q.size(), 0);
  r.k.assign(t.k.size(), 0);
  r.v.assign(t.v.size(), 0);
  r.delta.assign(r.log_sum_exp.size(), 0);
  r.sinks.assign(t.sinks.size(), 0);
  Gradients<Real> g;
  g.q = contiguous(r.q.data(), t.shape.query_heads, t.shape.queries, t.shape.width);
  g.k = contiguous(r.k.data(), t.shape.kv_heads, t.shape.keys, t.shape.width);
  g.v = contiguous(r.v.data(), t.shape.kv_heads, t.shape.keys, t.shape.value_width);
  g.delta = contiguous(r.delta.data(), t.shape.query_heads, t.shape.queries, 1);
  g.sinks = r.sinks;
  const Saved<Real> saved = {out.output, out.log_sum_exp, out.twin};
  const Status status = backward(t.inputs(), recipe, options, t.grad_view(), saved, g);
  EXPECT_TRUE(status.ok()) << (status.ok() ? "" : status.error().message());
  return r;
}

// Softmax attention as one writes it on paper, in long double, one row at a time, with the whole row
// of scores in hand.
template <class Real>
Results<double> textbook(const Tensors<Real>& t) {
  const Shape& s = t.shape;
  const Inputs<Real> in = t.inputs();
  Results<double> r;
  const std::size_t rows = s.batch * s.query_heads * s.queries;
  r.output.assign(rows * s.value_width, 0);
  r.log_sum_exp.assign(rows, -std::numeric_limits<double>::infinity());
  const long double scale = in.scale ? *in.scale : 1 / std::sqrt(static_cast<long double>(s.width));
  for (std::size_t row = 0; row < rows; ++row) {
    const std::size_t i = row % s.queries;
    const std::size_t h = row / s.queries % s.query_heads;
    const std::size_t b = row / s.queries / s.query_heads;
    const std::size_t g = h * s.kv_heads / s.query_heads;
    std::vector<long double> weights(s.keys, 0);
    long double total = in.sinks.empty() ? 0 : std::exp(static_cast<long double>(in.sinks[h]));
    for (std::size_t j = 0; j < s.keys; ++j) {
      auto diagonal = static_cast<long>(i);
      if (in.mask.alignment == Alignment::bottom_right)
        diagonal += static_cast<long>(s.keys) - static_cast<long>(s.queries);
      const long ahead = static_cast<long>(j) - diagonal;
      if (in.mask.right && ahead > static_cast<long>(*in.mask.right)) continue;
      if (in.mask.left && -ahead > static_cast<long>(*in.mask.left)) continue;
      if (!t.padding.empty() && t.padding[b * s.keys + j] == 0) continue;
      long double x = 0;
      for (std::size_t c = 0; c < s.width; ++c)
        x += static_cast<long double>(in.q.at(b, h, i, c)) * in.k.at(b, g, j, c);
      x *= scale;
      if (in.soft_cap != 0) x = in.soft_cap * std::tanh(x / in.soft_cap);
      if (in.bias) x += in.bias.at(b, h, i, j);
      weights[j] = std::exp(x);
      total += weights[j];
    }
    if (total == 0) continue;
    r.log_sum_exp[row] = static_cast<double>(std::log(total));
    for (std::size_t c = 0; c < s.value_width; ++c) {
      long double x = 0;
      for (std::size_t j = 0; j < s.keys; ++j) x += weights[j] * in.v.at(b, g, j, c);
      r.output[row * s.value_width + c] = static_cast<double>(x / total);
    }
  }
  return r;
}

template <class A, class B>
double largest_difference(const std::vector<A>& a, const std::vector<B>& b) {
  EXPECT_EQ(a.size(), b.size());
  double worst = 0;
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    const double x = static_cast<double>(a[i]);
    const double y = static_cast<double>(b[i]);
    EXPECT_EQ(std::isnan(x), std::isnan(y)) << "at " << i;
    if (x != y && !(std::isnan(x) && std::isnan(y))) worst = std::max(worst, std::fabs(x - y));
  }
  return worst;
}

}  // namespace ullage::attention::testing
