// The reference's gradients against PyTorch's, against finite differences, and between its ways to delta.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "tensors.h"

namespace ullage::attention::testing {
namespace {

using Json = nlohmann::json;

std::vector<double> numbers(const Json& json) {
  return json.is_null() ? std::vector<double>{} : json.get<std::vector<double>>();
}

struct Case {
  std::string name;
  Tensors<double> tensors;
  Results<double> expected;
};

std::vector<Case> torch_cases() {
  std::ifstream file(ULLAGE_TEST_DATA "/attention/torch_vectors.json");
  const Json json = Json::parse(file);
  std::vector<Case> cases;
  for (const Json& c : json["cases"]) {
    Case out;
    out.name = c["name"];
    Tensors<double>& t = out.tensors;
    const auto s = c["shape"].get<std::vector<std::size_t>>();
    t.shape = {s[0], s[1], s[2], s[3], s[4], s[5], s[6]};
    t.q = numbers(c["q"]);
    t.k = numbers(c["k"]);
    t.v = numbers(c["v"]);
    t.grad_output = numbers(c["grad_output"]);
    t.bias = numbers(c["bias"]);
    t.sinks = numbers(c["sinks"]);
    if (!c["causal"].is_null()) {
      t.options.mask =
          causal(c["causal"] == "top_left" ? Alignment::top_left : Alignment::bottom_right);
    }
    if (!c["window"].is_null()) t.options.mask.left = c["window"].get<std::size_t>() - 1;
    t.options.soft_cap = c["soft_cap"];
    if (!c["scale"].is_null()) t.options.scale = c["scale"].get<double>();
    out.expected.output = numbers(c["output"]);
    out.expected.log_sum_exp = numbers(c["log_sum_exp"]);
    out.expected.q = numbers(c["grad_q"]);
    out.expected.k = numbers(c["grad_k"]);
    out.expected.v = numbers(c["grad_v"]);
    out.expected.sinks = numbers(c["grad_sinks"]);
    cases.push_back(std::move(out));
  }
  return cases;
}

template <class Real>
Tensors<Real> in(const Tensors<double>& t) {
  Tensors<Real> out;
  out.shape = t.shape;
  out.q = as<Real>(t.q);
  out.k = as<Real>(t.k);
  out.v = as<Real>(t.v);
  out.grad_output = as<Real>(t.grad_output);
  out.bias = as<Real>(t.bias);
  out.sinks = as<Real>(t.sinks);
  out.options.mask = t.options.mask;
  out.options.scale = t.options.scale;
  out.options.soft_cap = t.options.soft_cap;
  return out;
}

template <class Real>
double distance(const Results<double>& expected, const Results<Real>& got) {
  return std::max({largest_difference(expected.output, got.output),
                   largest_difference(expected.log_sum_exp, got.log_sum_exp),
                   largest_difference(expected.q, got.q), largest_difference(expected.k, got.k),
                   largest_difference(expected.v, got.v),
                   largest_difference(expected.sinks, got.sinks)});
}

TEST(Backward, MatchesPyTorch) {
  const auto cases = torch_cases();
  ASSERT_EQ(cases.size(), 7U);
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    for (const auto rule : {ShiftRule::standard, ShiftRule::stabilised}) {
      const Options options{.shift = {.rule = rule}, .tiles = Tiles{2, 3}};
      EXPECT_LT(distance(c.expected, run_both(c.tensors, fp64(), options)), 1e-13);
      // FP32: values below 16, a few dozen roundings of 2^-24.
      EXPECT_LT(distance(c.expected, run_both(in<float>(c.tensors), fp32(), options)), 2e-5);
    }
  }
}

// BF16 rounds operands, P and results with unit 2^-8: gradients of size g and a handful of terms
// are within a few units of it.
TEST(Backward, Bf16RecipesAreWithinTheirUnits) {
  for (const Case& c : torch_cases()) {
    SCOPED_TRACE(c.name);
    double largest = 1;
    for (const auto* values : {&c.expected.output, &c.expected.q, &c.expected.k, &c.expected.v}) {
      for (const double x : *values) largest = std::max(largest, std::fabs(x));
    }
    for (const char* name : {"bf16-flash", "bf16-paper", "bf16-standard"}) {
      SCOPED_TRACE(name);
      const auto got = run_both(in<float>(c.tensors), *find_recipe(name));
      const double error = distance(c.expected, got);
      EXPECT_LT(error, 16 * 0x1p-8 * largest);
      EXPECT_GT(error, 0x1p-12);
    }
  }
}

// Central differences of sum(dO o O): h^2 |f'''| / 6 of truncation, 2^-53 |f| / h of rounding.
TEST(Backward, MatchesFiniteDifferences) {
  Shape shape = {1, 4, 2, 6, 7, 5, 3};
  auto t = random_tensors<double>(shape, 17);
  t.options.mask = causal();
  t.options.mask.left = 4;
  t.options.soft_cap = 2;
  t.sinks = normals(4, 1);
  t.padding.assign(7, 1);
  t.padding[3] = 0;
  std::copy_n(&t.k[5], 5, &t.k[20]);  // a repeated key
  const Options options{.shift = {.rule = ShiftRule::stabilised}, .tiles = Tiles{4, 2}};
  const auto r = run_both(t, fp64(), options);
  const auto value = [&](const Tensors<double>& x) {
    const auto out = run_forward(x, fp64(), options).output;
    double sum = 0;
    for (std::size_t e = 0; e < out.size(); ++e) sum += out[e] * t.grad_output[e];
    return sum;
  };
  const double h = 1e-5;
  const auto check_gradient = [&](std::vector<double> Tensors<double>::* member,
                                  const std::vector<double>& gradient) {
    ASSERT_EQ((t.*member).size(), gradient.size());
    for (std::size_t e = 0; e < gradient.size(); ++e) {
      auto up = t;
      auto down = t;
      (up.*member)[e] += h;
      (down.*member)[e] -= h;
      EXPECT_NEAR(gradient[e], (value(up) - value(down)) / (2 * h), 2e-9) << e;
    }
  };
  // A perturbed key is no longer repeated; the shift must not be seen in the derivative.
  check_gradient(&Tensors<double>::q, r.q);
  check_gradient(&Tensors<double>::k, r.k);
  check_gradient(&Tensors<double>::v, r.v);
  check_gradient(&Tensors<double>::sinks, r.sinks);
}

TEST(Backward, EveryDeltaIsTheSameInFp64) {
  auto t = random_tensors<double>({1, 2, 1, 9, 11, 4, 4}, 18);
  t.options.mask = causal();
  const auto expected = run_both(t, fp64());
  for (const auto source : {DeltaSource::twin, DeltaSource::recomputed, DeltaSource::probability}) {
    Recipe recipe = fp64();
    recipe.delta_source = source;
    recipe.gradient_scale = GradientScale::grad_score;
    const auto got = run_both(t, recipe, {.tiles = Tiles{4, 3}});
    EXPECT_LT(largest_difference(expected.delta, got.delta), 1e-13);
    EXPECT_LT(largest_difference(expected.q, got.q), 1e-13);
    EXPECT_LT(largest_difference(expected.k, got.k), 1e-13);
  }
}

TEST(Backward, DescaledGradientsAreOfTheOperandsThemselves) {
  // Powers of two: FP32 operands in units of them are the same operands.
  auto t = random_tensors<float>({1, 2, 1, 5, 6, 8, 8}, 19);
  const auto plain = run_both(t, fp32());
  const std::vector<float> q = {4}, k = {0.5}, v = {2};
  t.options.descales = {q, k, v};
  for (const auto scale : {GradientScale::gradient, GradientScale::grad_score}) {
    Recipe recipe = fp32();
    recipe.gradient_scale = scale;
    const auto scaled = run_both(t, recipe);
    EXPECT_EQ(largest_difference(plain.output, scaled.output), 0);
    EXPECT_LT(largest_difference(plain.q, scaled.q), 1e-6);
    EXPECT_LT(largest_difference(plain.k, scaled.k), 1e-6);
    EXPECT_LT(largest_difference(plain.v, scaled.v), 1e-6);
  }
}

TEST(Backward, WhatTheRecipeNeedsIsNamed) {
  const auto t = random_tensors<float>({1, 1, 1, 2, 2, 2, 2}, 20);
  std::vector<float> rows(8);
  const View<const float> view = contiguous<const float>(rows.data(), 1, 2, 2);
  const auto where = [&](const Recipe& recipe, View<const float> grad, const Saved<float>& saved) {
    const Status status = backward(t.inputs(), recipe, {}, grad, saved, {});
    EXPECT_FALSE(status.ok());
    return status.ok() ? "" : status.error().where;
  };
  EXPECT_EQ(where(fp32(), {}, {view, view}), "grad_output");
  EXPECT_EQ(where(fp32(), view, {view, {}}), "saved.log_sum_exp");
  EXPECT_EQ(where(fp32(), view, {{}, view}), "saved.output");
  Recipe twin = fp32();
  twin.delta_source = DeltaSource::twin;
  EXPECT_EQ(where(twin, view, {view, view, {}}), "saved.twin");
}

}  // namespace
}  // namespace ullage::attention::testing
