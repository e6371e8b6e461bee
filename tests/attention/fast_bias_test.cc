// What the stabilised shift is for, in the kernel that one trains with: where a row's maximum is
// repeated and V has one sign, the standard shift rounds O one way and the stabilised does not.
#include <gtest/gtest.h>

#include "fast_tensors.h"
#include "ullage/attention/made.h"
#include "ullage/attention/signed_error.h"
#include "ullage/attention/study.h"

namespace ullage::attention::testing {
namespace {

// 64 heads of 64 rows of 1024 keys: two equal maxima, the others 18 below.
Tensors<double> repeated_tensors() {
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
  return numbers;
}

// Errors of O in ulp, a row each, in the order of `exact`.
class Errors {
 public:
  void add(const double* got, const double* exact, std::size_t columns) {
    row_.resize(columns);
    for (std::size_t c = 0; c < columns; ++c)
      row_[c] = (got[c] - exact[c]) / ulp(formats::kBf16, exact[c]);
    sum_.add(row_);
  }
  SignedError result() const { return sum_.result(); }

 private:
  SignedErrorSum sum_;
  std::vector<double> row_;
};

SignedError error_of(const Shift& shift) {
  const auto numbers = repeated_tensors();
  const FastTensors<Bf16> t(numbers, Layout::bhnd);
  EXPECT_EQ(t.exact.v, numbers.v);  // the made numbers are BF16's
  const auto exact = run_forward(t.exact, fp64(), {.threads = 2});
  const auto got = run_fast(t, {.shift = shift, .threads = 2});
  Errors errors;
  const std::size_t columns = numbers.shape.value_width;
  for (std::size_t e = 0; e < got.output.size(); e += columns)
    errors.add(&got.output[e], &exact.output[e], columns);
  return errors.result();
}

// Row i of every head alone against all keys: the position stays, the query does not. One offset a
// head would leave each head a bias of its own.
std::vector<SignedError> errors_by_head_one_query_a_call(const Shift& shift) {
  const auto numbers = repeated_tensors();
  const FastTensors<Bf16> t(numbers, Layout::bhnd);
  const auto exact = run_forward(t.exact, fp64(), {.threads = 2});
  const Shape& s = numbers.shape;
  std::vector<Errors> errors(s.query_heads);
  std::vector<Bf16> output(s.query_heads * s.value_width);
  for (std::size_t i = 0; i < s.queries; ++i) {
    Inputs<Bf16> one = t.inputs();
    one.q.data = &one.q.at(0, 0, i, 0);
    one.shape.queries = 1;
    FastOutputs<Bf16> out;
    out.output = contiguous(output.data(), s.query_heads, 1, s.value_width);
    EXPECT_TRUE(fast_forward(one, {.shift = shift, .threads = 2}, out).ok());
    std::vector<double> row(s.value_width);
    for (std::size_t h = 0; h < s.query_heads; ++h) {
      for (std::size_t c = 0; c < row.size(); ++c) row[c] = widened(out.output.at(0, h, 0, c));
      errors[h].add(row.data(), &exact.output[(h * s.queries + i) * row.size()], row.size());
    }
  }
  std::vector<SignedError> results;
  for (const Errors& head : errors) results.push_back(head.result());
  return results;
}

// One query of width 1 that never changes, against as many keys more each call: scores are the keys.
// All rows share their maximum.
SignedError error_while_decoding(const Shift& shift) {
  constexpr std::size_t kFirst = 64;
  constexpr std::size_t kSteps = 1024;
  constexpr std::size_t kColumns = 16;
  const Generator generator(5, 1);
  std::vector<double> values;
  for (std::size_t e = 0; e < (kFirst + kSteps) * kColumns; ++e)
    values.push_back(-2.8 + 0.3 * generator.normal(e));
  Errors errors;
  for (std::size_t step = 0; step < kSteps; ++step) {
    Tensors<double> numbers;
    numbers.shape = {1, 1, 1, 1, kFirst + step, 1, kColumns};
    numbers.options.scale = 1;
    numbers.q = {1};
    for (std::size_t j = 0; j < numbers.shape.keys; ++j)
      numbers.k.push_back(-14 + generator.normal((step + 1) << 20 | j));
    numbers.k[step % 16] = numbers.k[16 + step % 48] = 4;
    numbers.v.assign(values.data(), values.data() + numbers.shape.keys * kColumns);
    numbers.grad_output.resize(kColumns);
    const FastTensors<Bf16> t(numbers, Layout::bhnd);
    const auto exact = run_forward(t.exact, fp64());
    const auto got = run_fast(t, {.shift = shift, .threads = 1});
    errors.add(got.output.data(), exact.output.data(), kColumns);
  }
  return errors.result();
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

// Means of 64 rows a head scatter by 0.41 / 8 at most, their square mean over 64 heads by a tenth of it.
TEST(FastBias, OneQueryACallHasOffsetsOfItsOwn) {
  if (const auto why = refusal(CpuPath::avx512_bf16); !why.empty()) GTEST_SKIP() << why;
  const ScopedCpuPath forced(CpuPath::avx512_bf16);
  double squares = 0;
  double sum = 0;
  for (const SignedError& head : errors_by_head_one_query_a_call({.rule = ShiftRule::stabilised})) {
    squares += head.mean * head.mean / 64;
    sum += head.mean / 64;
  }
  EXPECT_LT(std::sqrt(squares), 0.06);
  EXPECT_LT(std::fabs(sum), 0.02);
}

TEST(FastBias, DecodingIsNotBiased) {
  if (const auto why = refusal(CpuPath::avx512_bf16); !why.empty()) GTEST_SKIP() << why;
  const ScopedCpuPath forced(CpuPath::avx512_bf16);
  EXPECT_GT(std::fabs(error_while_decoding({}).mean), 0.1);
  EXPECT_LT(std::fabs(error_while_decoding({.rule = ShiftRule::stabilised}).mean), 0.02);
}

}  // namespace
}  // namespace ullage::attention::testing
