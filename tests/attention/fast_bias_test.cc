// What the stabilised shift is for, in the kernel that one trains with: where a row's maximum is
// repeated and V has one sign, the standard shift rounds O one way and the stabilised does not.
#include <gtest/gtest.h>

#include "fast_tensors.h"
#include "ullage/attention/made.h"
#include "ullage/attention/signed_error.h"
#include "ullage/attention/study.h"

namespace ullage::attention::testing {
namespace {

// Mean error of O in ulp over 4096 rows of 1024 keys: two equal maxima, the others 18 below.
SignedError error_of(const Shift& shift) {
  RepeatedOptions options;
  options.depth = 18;
  const auto made = make_repeated(options);
  EXPECT_TRUE(made.ok());
  Tensors<double> numbers;
  numbers.shape = made->shape;
  numbers.q.assign(made->q.begin(), made->q.end());
  numbers.k.assign(made->k.begin(), made->k.end());
  numbers.v.assign(made->v.begin(), made->v.end());
  numbers.grad_output.assign(made->grad_output.begin(), made->grad_output.end());
  numbers.options.scale = made->scale;
  const FastTensors<Bf16> t(numbers, Layout::bhnd);
  EXPECT_EQ(t.exact.v, numbers.v);  // the made numbers are BF16's
  const auto exact = run_forward(t.exact, fp64(), {.threads = 2});
  const auto got = run_fast(t, {.shift = shift, .threads = 2});
  SignedErrorSum sum;
  std::vector<double> row(numbers.shape.value_width);
  for (std::size_t e = 0; e < got.output.size(); e += row.size()) {
    for (std::size_t c = 0; c < row.size(); ++c)
      row[c] = (got.output[e + c] - exact.output[e + c]) / ulp(formats::kBf16, exact.output[e + c]);
    sum.add(row);
  }
  return sum.result();
}

// The row sum adds lane by lane and keeps the tail, the product adds key by key and loses it beside
// the two maxima: a quarter ulp, towards zero.
TEST(FastBias, TheStandardShiftIsBiasedAndTheStabilisedIsNot) {
  if (const auto why = refusal(CpuPath::avx512_bf16); !why.empty()) GTEST_SKIP() << why;
  const ScopedCpuPath forced(CpuPath::avx512_bf16);
  const SignedError standard = error_of({});
  EXPECT_GT(std::fabs(standard.mean), 0.1);
  EXPECT_LT(standard.sign_probability, 1e-6);
  const SignedError stabilised = error_of({.rule = ShiftRule::stabilised});
  EXPECT_LT(std::fabs(stabilised.mean), 0.02);
}

}  // namespace
}  // namespace ullage::attention::testing
