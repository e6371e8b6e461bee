// The fast kernels' outputs on every CPU path, against FP64 and against unfused attention of their precision.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "fast_problems.h"

namespace ullage::attention::testing {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// At most twice the plain form's error, and a floor for what a sum may round where the plain form was
// lucky: O is a mean of values, P-bar and O round once each to the tensors' type, a score of size s
// to FP32.
template <class T>
double allowed(const Tensors<double>& t, const std::vector<double>& exact) {
  const double naive = worst_error(exact, naive_output<T>(t));
  return 2 * naive + largest_size(t.v) * (2 * kUnit<T> + 0x1p-24 * (8 + score_size(t)));
}

template <class T>
void check_all_paths(const Tensors<double>& numbers, Layout layout, const Shift& shift) {
  const FastTensors<T> t(numbers, layout);
  const auto exact = textbook(t.exact);
  const double limit = allowed<T>(t.exact, exact.output);
  const double width = static_cast<double>(t.exact.shape.width);
  const double score_error = 0x1p-24 * (8 + std::sqrt(width) * score_size(t.exact));
  for (const CpuPath path : fast_paths()) {
    SCOPED_TRACE(name_of(path));
    const ScopedCpuPath forced(path);
    ASSERT_EQ(fast_path_reason(t.inputs(), {.shift = shift}), "");
    const auto got = run_fast(t, {.shift = shift, .threads = 1});
    EXPECT_LE(worst_error(exact.output, got.output), limit);
    const std::vector<double> log_sum_exp(got.log_sum_exp.begin(), got.log_sum_exp.end());
    EXPECT_LE(worst_error(exact.log_sum_exp, log_sum_exp), score_error);
  }
}

TEST(FastForward, IsWithinTwiceThePlainFormsError) {
  for (const NamedProblem& problem : problems()) {
    SCOPED_TRACE(problem.name);
    const auto t = tensors_of(problem);
    for (const ShiftRule rule : {ShiftRule::standard, ShiftRule::stabilised}) {
      check_all_paths<Bf16>(t, Layout::bhnd, {.rule = rule});
      check_all_paths<float>(t, Layout::bnhd, {.rule = rule});
    }
  }
}

TEST(FastForward, IsRightOnAnyProblem) {
  EXPECT_TRUE(rc::check("any shape and mask", [] {
    const auto t = tensors_of(any_fast_problem(), *rc::gen::inRange(0U, 1000U));
    const Layout layout = *rc::gen::element(Layout::bhnd, Layout::bnhd);
    const Shift shift = {.rule = *rc::gen::element(ShiftRule::standard, ShiftRule::stabilised)};
    check_all_paths<Bf16>(t, layout, shift);
    check_all_paths<float>(t, layout, shift);
    RC_ASSERT(!::testing::Test::HasFailure());
  }));
}

TEST(FastForward, ThreadsChangeNoBit) {
  auto t = tensors_of({"", {2, 6, 2, 333, 411, 72, 72}, causal(), 0, 0.2});
  const auto check_type = [&]<class T>(const FastTensors<T>& fast) {
    for (const CpuPath path : fast_paths()) {
      SCOPED_TRACE(name_of(path));
      const ScopedCpuPath forced(path);
      const auto one = run_fast(fast, {.threads = 1}, true);
      for (const int threads : {2, 5}) {
        const auto many = run_fast(fast, {.threads = threads}, true);
        EXPECT_EQ(one.output, many.output);
        EXPECT_EQ(one.log_sum_exp, many.log_sum_exp);
        EXPECT_EQ(one.heads[3].score_norm, many.heads[3].score_norm);
      }
    }
  };
  check_type(FastTensors<Bf16>(t, Layout::bhnd));
  check_type(FastTensors<float>(t, Layout::bnhd));
}

TEST(FastForward, PathsAreThoseThatTheirNamesSay) {
  for (const CpuPath path : fast_paths()) {
    const ScopedCpuPath forced(path);
    EXPECT_STREQ(fast_path_name<Bf16>(), name_of(path));
    EXPECT_STREQ(fast_path_name<float>(), path == CpuPath::avx512_bf16 ? "avx512" : name_of(path));
  }
  const ScopedCpuPath forced(CpuPath::portable);
  EXPECT_STREQ(fast_path_name<Bf16>(), "reference");
}

TEST(FastForward, RowsWithoutKeysAreZero) {
  auto numbers = tensors_of({"", {2, 1, 1, 40, 20, 16, 16}, causal()});
  numbers.padding.assign(40, 1);
  std::fill_n(numbers.padding.begin() + 20, 20, std::uint8_t{0});  // all of the second sequence
  const FastTensors<Bf16> t(numbers, Layout::bhnd);
  for (const CpuPath path : fast_paths()) {
    const ScopedCpuPath forced(path);
    const auto r = run_fast(t, {}, true);
    for (std::size_t e = 0; e < 20 * 16; ++e) EXPECT_EQ(r.output[e], 0);
    for (std::size_t e = 40 * 16; e < 80 * 16; ++e) EXPECT_EQ(r.output[e], 0);
    EXPECT_EQ(r.log_sum_exp[0], -kInfinity);
    EXPECT_EQ(r.log_sum_exp[79], -kInfinity);
    EXPECT_NE(r.log_sum_exp[20], -kInfinity);
    EXPECT_EQ(r.statistics[0].keys, 0U);
    EXPECT_EQ(r.heads[0].empty_rows, 20U);
    EXPECT_EQ(r.heads[1].empty_rows, 40U);
  }
}

template <class T>
void check_nan_stays() {
  auto numbers = tensors_of({"", {1, 1, 1, 40, 300, 16, 16}});
  numbers.q[3 * 16 + 5] = std::numeric_limits<double>::quiet_NaN();
  const FastTensors<T> t(numbers, Layout::bhnd);
  for (const CpuPath path : fast_paths()) {
    SCOPED_TRACE(name_of(path));
    const ScopedCpuPath forced(path);
    for (const ShiftRule rule : {ShiftRule::standard, ShiftRule::stabilised}) {
      const auto r = run_fast(t, {.shift = {.rule = rule}});
      for (std::size_t e = 0; e < r.output.size(); ++e)
        EXPECT_EQ(std::isnan(r.output[e]), e / 16 == 3) << e;
      EXPECT_TRUE(std::isnan(r.log_sum_exp[3]));
    }
  }
}

TEST(FastForward, NanStaysInItsRow) {
  check_nan_stays<Bf16>();
  check_nan_stays<float>();
}

TEST(FastForward, PaddedKeysCountForNothingWhateverTheyHold) {
  auto numbers = tensors_of({"", {1, 2, 1, 20, 70, 16, 16}, {}, 0, 0.4});
  const FastTensors<Bf16> clean(numbers, Layout::bhnd);
  FastTensors<Bf16> dirty = clean;
  for (std::size_t j = 0; j < 70; ++j) {
    if (numbers.padding[j] != 0) continue;
    for (std::size_t c = 0; c < 16; ++c) {
      dirty.k[j * 16 + c] = to_bf16(std::numeric_limits<double>::quiet_NaN());
      dirty.v[j * 16 + c] = to_bf16(kInfinity);
    }
  }
  for (const CpuPath path : fast_paths()) {
    const ScopedCpuPath forced(path);
    EXPECT_EQ(run_fast(clean, {}).output, run_fast(dirty, {}).output);
  }
}

TEST(FastForward, PackedSequencesAreTheSequences) {
  const std::vector<std::size_t> lengths = {70, 0, 1, 129};
  const std::vector<std::size_t> starts = {0, 70, 70, 71, 200};
  auto numbers = random_tensors<double>({1, 2, 1, 200, 200, 24, 24}, 5);
  numbers.options.mask = causal();
  for (const CpuPath path : fast_paths()) {
    SCOPED_TRACE(name_of(path));
    const ScopedCpuPath forced(path);
    FastTensors<float> packed(numbers, Layout::bnhd);
    packed.exact.options.packed = {starts, starts};
    Inputs<float> in = packed.inputs();
    in.shape.batch = lengths.size();
    std::vector<float> output(200 * 2 * 24);
    FastOutputs<float> out;
    out.output = view_of(output.data(), Layout::bnhd, 2, 200, 24);
    ASSERT_TRUE(fast_forward(in, {}, out).ok());
    for (std::size_t b = 0; b < lengths.size(); ++b) {
      if (lengths[b] == 0) continue;
      Inputs<float> one = packed.inputs();
      one.packed = {};
      one.shape.queries = one.shape.keys = lengths[b];
      one.q.data += starts[b] * 2 * 24;
      one.k.data += starts[b] * 24;
      one.v.data += starts[b] * 24;
      std::vector<float> alone(lengths[b] * 2 * 24);
      FastOutputs<float> to;
      to.output = view_of(alone.data(), Layout::bnhd, 2, lengths[b], 24);
      ASSERT_TRUE(fast_forward(one, {}, to).ok());
      for (std::size_t e = 0; e < alone.size(); ++e)
        ASSERT_EQ(alone[e], output[starts[b] * 2 * 24 + e]) << b << " " << e;
    }
  }
}

TEST(FastForward, WhatItDoesNotDoTheReferenceDoes) {
  auto numbers = tensors_of({"", {1, 2, 1, 20, 30, 16, 8}, causal()});
  const FastTensors<Bf16> t(numbers, Layout::bhnd);
  const auto reason = [&](auto change) {
    Inputs<Bf16> in = t.inputs();
    FastOptions options;
    change(in, options);
    return fast_path_reason(in, options);
  };
  const std::vector<Bf16> sinks(2, to_bf16(1));
  const std::vector<float> descales(1, 2.0F);
  using In = Inputs<Bf16>;
  EXPECT_THAT(reason([](In&, FastOptions& o) { o.shift.rule = ShiftRule::published; }),
              ::testing::HasSubstr("published"));
  EXPECT_THAT(reason([&](In& in, FastOptions&) { in.bias = in.q; }), ::testing::HasSubstr("bias"));
  EXPECT_THAT(reason([&](In& in, FastOptions&) { in.sinks = sinks; }),
              ::testing::HasSubstr("sinks"));
  EXPECT_THAT(reason([&](In& in, FastOptions&) { in.descales.q = descales; }),
              ::testing::HasSubstr("descales"));
  EXPECT_THAT(reason([](In& in, FastOptions&) { in.scale = -1; }), ::testing::HasSubstr("scale"));
  EXPECT_THAT(reason([](In& in, FastOptions&) { in.k.column = 2; }),
              ::testing::HasSubstr("columns"));
  const ScopedCpuPath forced(CpuPath::portable);
  EXPECT_THAT(reason([](In&, FastOptions&) {}), ::testing::HasSubstr("portable"));

  // And it does it: the same problem, by the reference, within the floor of what BF16 resolves.
  numbers.sinks = normals(2, 3);
  FastTensors<Bf16> sunk(numbers, Layout::bnhd);
  for (double& sink : sunk.exact.sinks) sink = widened(to_bf16(sink));
  std::vector<Bf16> values;
  for (const double sink : sunk.exact.sinks) values.push_back(to_bf16(sink));
  Inputs<Bf16> in = sunk.inputs();
  in.sinks = values;
  std::vector<Bf16> output(40 * 8);
  FastOutputs<Bf16> out;
  out.output = view_of(output.data(), Layout::bnhd, 2, 20, 8);
  ASSERT_TRUE(fast_forward(in, {}, out).ok());
  const auto exact = textbook(sunk.exact);
  double worst = 0;
  for (std::size_t h = 0; h < 2; ++h)
    for (std::size_t i = 0; i < 20; ++i)
      for (std::size_t c = 0; c < 8; ++c)
        worst = std::max(worst, std::fabs(exact.output[(h * 20 + i) * 8 + c] -
                                          widened(out.output.at(0, h, i, c))));
  EXPECT_LE(worst, 4 * kUnit<Bf16> * largest_size(sunk.exact.v));
  EXPECT_GT(worst, 0);
}

TEST(FastForward, NothingToSeeOrNobodyToLook) {
  for (const CpuPath path : fast_paths()) {
    const ScopedCpuPath forced(path);
    Inputs<Bf16> in;
    in.shape = {2, 2, 1, 3, 0, 8, 8};
    const std::vector<Bf16> q(2 * 2 * 3 * 8, to_bf16(1));
    in.q = contiguous(q.data(), 2, 3, 8);
    std::vector<Bf16> output(q.size(), to_bf16(7));
    std::vector<HeadStatistics> heads(4);
    FastOutputs<Bf16> out;
    out.output = contiguous(output.data(), 2, 3, 8);
    out.heads = heads;
    ASSERT_TRUE(fast_forward(in, {}, out).ok());
    for (const Bf16 x : output) EXPECT_EQ(x.value(), 0);
    EXPECT_EQ(heads[3].empty_rows, 3U);

    std::vector<float> log_sum_exp(12, -std::numeric_limits<float>::infinity());
    std::vector<Bf16> grad(q.size(), to_bf16(7));
    FastGradients<Bf16> to;
    to.q = contiguous(grad.data(), 2, 3, 8);
    const View<const Bf16> grad_output = contiguous(q.data(), 2, 3, 8);
    const FastSaved<Bf16> saved = {out.output,
                                   contiguous<const float>(log_sum_exp.data(), 2, 3, 1)};
    ASSERT_TRUE(fast_backward(in, {}, grad_output, saved, to).ok());
    for (const Bf16 x : grad) EXPECT_EQ(x.value(), 0);

    in.shape = {2, 2, 1, 0, 3, 8, 8};
    in.k = in.v = contiguous(q.data(), 1, 3, 8);
    ASSERT_TRUE(fast_forward(in, {}, out).ok());
    std::vector<Bf16> grad_keys(2 * 3 * 8, to_bf16(7));
    to.q = {};
    to.k = to.v = contiguous(grad_keys.data(), 1, 3, 8);
    ASSERT_TRUE(fast_backward(in, {}, grad_output, saved, to).ok());
    for (const Bf16 x : grad_keys) EXPECT_EQ(x.value(), 0);
  }
}

TEST(FastForward, BadRequestsAreNamed) {
  const FastTensors<Bf16> t(tensors_of({"", {1, 2, 1, 4, 4, 8, 8}}), Layout::bhnd);
  Status status = fast_forward(t.inputs(), {}, {});
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().where, "outputs.output");
  std::vector<Bf16> output(64);
  std::vector<HeadStatistics> heads(1);
  FastOutputs<Bf16> out;
  out.output = view_of(output.data(), Layout::bhnd, 2, 4, 8);
  out.heads = heads;
  status = fast_forward(t.inputs(), {}, out);
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().where, "heads");
  Inputs<Bf16> wide = t.inputs();
  wide.shape.width = 257;
  out.heads = {};
  EXPECT_FALSE(fast_forward(wide, {}, out).ok());
}

TEST(FastForward, AWorkspaceServesManyCalls) {
  FastWorkspace workspace;
  for (const NamedProblem& problem : {problems()[1], problems()[3], problems()[9]}) {
    const FastTensors<Bf16> t(tensors_of(problem), Layout::bhnd);
    const auto fresh = run_fast(t, {});
    EXPECT_EQ(fresh.output, run_fast(t, {.workspace = &workspace}).output) << problem.name;
  }
}

}  // namespace
}  // namespace ullage::attention::testing
