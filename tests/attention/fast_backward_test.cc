// The fast kernels' gradients on every CPU path, against FP64 and against unfused attention of their precision.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "fast_problems.h"

namespace ullage::attention::testing {
namespace {

struct Limits {
  double q, k, v;
};

double sum_sizes(const std::vector<double>& values, std::size_t row, std::size_t width) {
  double squares = 0;
  for (std::size_t c = 0; c < width; ++c)
    squares += values[row * width + c] * values[row * width + c];
  return std::sqrt(squares);
}

double longest(const std::vector<double>& values, std::size_t width) {
  double most = 0;
  for (std::size_t row = 0; row < values.size() / width; ++row)
    most = std::max(most, sum_sizes(values, row, width));
  return most;
}

// Twice the plain form's error, and a floor from the formats: dS is at most P (|dO| |V| + |delta|),
// delta off by an O rounded to the tensors' type, P and dS round once; dQ sums dS of a row, whose P
// add up to 1; dK and dV sum over the queries that look at a key, at most all.
template <class T>
Limits allowed(const Tensors<double>& t, const Results<double>& exact) {
  const Results<float> plain = run_both(in_fp32(t), naive_recipe<T>());
  const auto error = [](const std::vector<double>& a, const std::vector<float>& b) {
    return 2 * worst_error(a, {b.begin(), b.end()});
  };
  const Shape& s = t.shape;
  const double unit = 2 * kUnit<T> + 0x1p-24 * (8 + score_size(t));
  const double grad = longest(t.grad_output, s.value_width);
  const double score = 2 * grad * longest(t.v, s.value_width) * t.inputs().score_scale();
  // P's column sums.
  const double looks = std::min<double>(static_cast<double>(s.queries * s.group()), 16);
  return {error(exact.q, plain.q) + unit * score * longest(t.k, s.width),
          error(exact.k, plain.k) + unit * score * longest(t.q, s.width) * looks,
          error(exact.v, plain.v) + unit * grad * looks};
}

template <class T>
void check_all_paths(const Tensors<double>& numbers, Layout layout, const Shift& shift) {
  const FastTensors<T> t(numbers, layout);
  const auto exact = run_both(t.exact, fp64());
  const Limits limits = allowed<T>(t.exact, exact);
  for (const CpuPath path : fast_paths()) {
    SCOPED_TRACE(name_of(path));
    const ScopedCpuPath forced(path);
    const auto got = run_fast_backward(t, {.shift = shift, .threads = 1});
    EXPECT_LE(worst_error(exact.q, got.q), limits.q);
    EXPECT_LE(worst_error(exact.k, got.k), limits.k);
    EXPECT_LE(worst_error(exact.v, got.v), limits.v);
  }
}

TEST(FastBackward, IsWithinTwiceThePlainFormsError) {
  for (const NamedProblem& problem : problems()) {
    SCOPED_TRACE(problem.name);
    const auto t = tensors_of(problem);
    check_all_paths<Bf16>(t, Layout::bnhd, {.rule = ShiftRule::stabilised});
    check_all_paths<float>(t, Layout::bhnd, {});
  }
}

TEST(FastBackward, IsRightOnAnyProblem) {
  EXPECT_TRUE(rc::check("any shape and mask", [] {
    const auto t = tensors_of(any_fast_problem(), *rc::gen::inRange(0U, 1000U));
    const Layout layout = *rc::gen::element(Layout::bhnd, Layout::bnhd);
    const Shift shift = {.rule = *rc::gen::element(ShiftRule::standard, ShiftRule::stabilised)};
    check_all_paths<Bf16>(t, layout, shift);
    check_all_paths<float>(t, layout, shift);
    RC_ASSERT(!::testing::Test::HasFailure());
  }));
}

// Central differences in FP64 of sum(dO o O): FP32 kernels within FP32's roundings of them.
TEST(FastBackward, MatchesFiniteDifferences) {
  auto numbers = tensors_of({"", {1, 4, 2, 9, 11, 5, 3}, causal(), 2});
  numbers.options.mask.left = 6;
  const FastTensors<float> t(numbers, Layout::bhnd);
  const auto value = [&](const Tensors<double>& x) {
    const auto out = run_forward(x, fp64()).output;
    double sum = 0;
    for (std::size_t e = 0; e < out.size(); ++e) sum += out[e] * t.exact.grad_output[e];
    return sum;
  };
  const auto differences = [&](std::vector<double> Tensors<double>::* member) {
    std::vector<double> out;
    const double h = 1e-5;
    for (std::size_t e = 0; e < (t.exact.*member).size(); ++e) {
      auto up = t.exact;
      auto down = t.exact;
      (up.*member)[e] += h;
      (down.*member)[e] -= h;
      out.push_back((value(up) - value(down)) / (2 * h));
    }
    return out;
  };
  const auto q = differences(&Tensors<double>::q);
  const auto k = differences(&Tensors<double>::k);
  const auto v = differences(&Tensors<double>::v);
  for (const CpuPath path : fast_paths()) {
    SCOPED_TRACE(name_of(path));
    const ScopedCpuPath forced(path);
    const auto got = run_fast_backward(t, {});
    EXPECT_LE(worst_error(q, got.q), 1e-5);
    EXPECT_LE(worst_error(k, got.k), 1e-5);
    EXPECT_LE(worst_error(v, got.v), 1e-5);
  }
}

// Many keys for few heads, so that the keys are cut into parts; and grouped heads.
TEST(FastBackward, ThreadsChangeNoBit) {
  const auto check_type = [&]<class T>(const FastTensors<T>& fast) {
    for (const CpuPath path : fast_paths()) {
      SCOPED_TRACE(name_of(path));
      const ScopedCpuPath forced(path);
      const auto one = run_fast_backward(fast, {.threads = 1});
      for (const int threads : {2, 5}) {
        const auto many = run_fast_backward(fast, {.threads = threads});
        EXPECT_EQ(one.q, many.q);
        EXPECT_EQ(one.k, many.k);
        EXPECT_EQ(one.v, many.v);
        EXPECT_EQ(one.delta, many.delta);
      }
    }
  };
  const auto grouped = tensors_of({"", {2, 4, 2, 150, 1200, 40, 40}, {}, 0, 0.2});
  check_type(FastTensors<Bf16>(grouped, Layout::bhnd));
  check_type(FastTensors<float>(grouped, Layout::bnhd));
  const auto one_head = tensors_of({"", {1, 1, 1, 1300, 1300, 32, 32}, causal()});
  check_type(FastTensors<Bf16>(one_head, Layout::bhnd));
}

TEST(FastBackward, ManyPartsAreRight) {
  const auto t = tensors_of({"", {1, 1, 1, 1300, 1300, 32, 32}, causal()});
  check_all_paths<Bf16>(t, Layout::bhnd, {});
  check_all_paths<float>(t, Layout::bhnd, {});
}

TEST(FastBackward, RowsWithoutKeysHaveNoGradient) {
  auto numbers = tensors_of({"", {1, 1, 1, 40, 20, 16, 16}, causal()});
  const FastTensors<Bf16> t(numbers, Layout::bhnd);
  for (const CpuPath path : fast_paths()) {
    const ScopedCpuPath forced(path);
    const auto r = run_fast_backward(t, {});
    for (std::size_t e = 0; e < 20 * 16; ++e) EXPECT_EQ(r.q[e], 0);
    for (const auto* values : {&r.q, &r.k, &r.v}) {
      for (const double x : *values) EXPECT_TRUE(std::isfinite(x));
    }
  }
}

TEST(FastBackward, DeltaIsTheRowSum) {
  const FastTensors<float> t(tensors_of({"", {1, 2, 2, 50, 50, 33, 33}, causal()}), Layout::bnhd);
  const auto exact = run_both(t.exact, fp64());
  for (const CpuPath path : fast_paths()) {
    const ScopedCpuPath forced(path);
    const auto got = run_fast_backward(t, {});
    EXPECT_LE(largest_difference(exact.delta, got.delta), 1e-5);
  }
}

// A gradient that comes from a sum: one number, strides 0.
TEST(FastBackward, TakesAGradientWithoutColumns) {
  const Shape s = {1, 2, 2, 40, 40, 16, 16};
  auto numbers = tensors_of({"", s});
  std::fill(numbers.grad_output.begin(), numbers.grad_output.end(), 0.5);
  const FastTensors<float> t(numbers, Layout::bhnd);
  const auto expected = run_fast_backward(t, {});
  std::vector<float> output(s.query_heads * s.queries * s.width), log_sum_exp(80), v(t.v.size());
  FastOutputs<float> out;
  out.output = contiguous(output.data(), 2, 40, 16);
  out.log_sum_exp = contiguous(log_sum_exp.data(), 2, 40, 1);
  ASSERT_TRUE(fast_forward(t.inputs(), {}, out).ok());
  const float half = 0.5F;
  const View<const float> grad = {&half, 0, 0, 0, 0};
  FastGradients<float> to;
  to.v = contiguous(v.data(), 2, 40, 16);
  ASSERT_TRUE(fast_backward(t.inputs(), {}, grad, {out.output, out.log_sum_exp}, to).ok());
  for (std::size_t e = 0; e < v.size(); ++e) EXPECT_EQ(static_cast<double>(v[e]), expected.v[e]);
}

TEST(FastBackward, WhatItDoesNotDoTheReferenceDoes) {
  const auto numbers = tensors_of({"", {1, 2, 1, 20, 30, 16, 8}, causal()});
  const ScopedCpuPath forced(CpuPath::portable);
  const FastTensors<Bf16> t(numbers, Layout::bnhd);
  const auto exact = run_both(t.exact, fp64());
  const Limits limits = allowed<Bf16>(t.exact, exact);
  const auto got = run_fast_backward(t, {});
  EXPECT_LE(worst_error(exact.q, got.q), limits.q);
  EXPECT_LE(worst_error(exact.k, got.k), limits.k);
  EXPECT_LE(worst_error(exact.v, got.v), limits.v);
  const FastTensors<float> single(numbers, Layout::bhnd);
  EXPECT_LE(worst_error(run_both(single.exact, fp64()).q, run_fast_backward(single, {}).q), 1e-5);
}

TEST(FastBackward, WhatIsMissingIsNamed) {
  const FastTensors<float> t(tensors_of({"", {1, 1, 1, 2, 2, 2, 2}}), Layout::bhnd);
  std::vector<float> rows(8);
  const View<const float> view = contiguous<const float>(rows.data(), 1, 2, 2);
  const auto where = [&](const View<const float>& grad, const FastSaved<float>& saved) {
    const Status status = fast_backward(t.inputs(), {}, grad, saved, {});
    EXPECT_FALSE(status.ok());
    return status.ok() ? "" : status.error().where;
  };
  EXPECT_EQ(where({}, {view, view}), "grad_output");
  EXPECT_EQ(where(view, {{}, view}), "saved.output");
  EXPECT_EQ(where(view, {view, {}}), "saved.log_sum_exp");
}

}  // namespace
}  // namespace ullage::attention::testing
