// Problems of every kind that the fast kernels do, with sizes on both sides of their tiles.
#pragma once

#include <rapidcheck.h>

#include <cmath>
#include <optional>
#include <string>
#include <vector>

#include "fast_tensors.h"

namespace ullage::attention::testing {

struct NamedProblem {
  std::string name;
  Shape shape;
  Mask mask = {};
  double cap = 0;
  double padded = 0;  // share of keys
  std::optional<double> scale = {};
  double size = 1;  // of Q and K
};

inline Tensors<double> tensors_of(const NamedProblem& problem, unsigned seed = 11) {
  auto t = random_tensors<double>(problem.shape, seed, problem.size);
  t.options.mask = problem.mask;
  t.options.soft_cap = problem.cap;
  t.options.scale = problem.scale;
  if (problem.padded > 0) {
    for (std::size_t e = 0; e < problem.shape.batch * problem.shape.keys; ++e)
      t.padding.push_back(normals(1, static_cast<unsigned>(e))[0] < problem.padded ? 0 : 1);
  }
  return t;
}

inline const std::vector<NamedProblem>& problems() {
  static const std::vector<NamedProblem> all = {
      {"full", {2, 3, 3, 100, 130, 64, 64}},
      {"causal, several tiles", {1, 2, 2, 600, 600, 64, 64}, causal()},
      {"causal, wide", {1, 1, 1, 300, 300, 128, 128}, causal()},
      {"causal to the left", {1, 1, 1, 70, 300, 32, 32}, causal(Alignment::top_left)},
      {"more queries than keys", {1, 1, 1, 90, 40, 32, 32}, causal()},
      {"window", {1, 2, 1, 500, 500, 64, 64}, sliding_window(100)},
      {"both sides", {1, 1, 1, 300, 300, 16, 16}, {.left = 20, .right = 40, .padding = {}}},
      {"grouped", {1, 8, 2, 65, 65, 80, 80}, causal()},
      {"one kv head", {2, 5, 1, 33, 47, 40, 40}},
      {"padding", {3, 2, 2, 50, 300, 64, 64}, causal(), 0, 0.3},
      {"soft cap", {1, 2, 2, 120, 280, 64, 64}, causal(), 5},
      {"soft cap, small scores", {1, 1, 1, 64, 64, 64, 64}, {}, 30, 0, 0.01},
      {"scale", {1, 1, 1, 40, 300, 24, 24}, {}, 0, 0, 0.5},
      {"width 1", {1, 1, 1, 9, 9, 1, 1}},
      {"odd width", {1, 1, 1, 31, 33, 97, 97}, causal()},
      {"width 256", {1, 1, 1, 40, 280, 256, 256}, causal()},
      {"values narrower", {1, 2, 2, 40, 50, 96, 33}},
      {"values wider", {1, 2, 2, 40, 50, 33, 96}, causal()},
      {"one query", {2, 4, 2, 1, 700, 64, 64}, causal()},
      {"large scores", {1, 1, 1, 60, 600, 64, 64}, causal(), 0, 0, {}, 6},
  };
  return all;
}

// Any of them, small enough to have many.
inline NamedProblem any_fast_problem() {
  const auto size = [](int low, int high) {
    return static_cast<std::size_t>(*rc::gen::inRange(low, high));
  };
  NamedProblem p;
  p.shape.batch = size(1, 3);
  p.shape.kv_heads = size(1, 3);
  p.shape.query_heads = p.shape.kv_heads * size(1, 4);
  p.shape.queries = size(1, 90);
  p.shape.keys = size(1, 300);
  p.shape.width = size(1, 100);
  p.shape.value_width = size(1, 100);
  if (*rc::gen::arbitrary<bool>()) p.mask.right = size(0, 50);
  if (*rc::gen::arbitrary<bool>()) p.mask.left = size(0, 100);
  if (*rc::gen::arbitrary<bool>()) p.mask.alignment = Alignment::top_left;
  if (*rc::gen::arbitrary<bool>()) p.cap = 3;
  if (*rc::gen::arbitrary<bool>()) p.padded = 0.5;
  if (*rc::gen::arbitrary<bool>()) p.scale = 0.3;
  return p;
}

// |scale| |q| |k|, the largest over queries and over keys: an FP32 score of d terms rounds to a few
// times sqrt(d) units of it.
inline double score_size(const Tensors<double>& t) {
  const auto longest = [&](const std::vector<double>& rows) {
    double most = 0;
    for (std::size_t e = 0; e < rows.size(); e += t.shape.width) {
      double squares = 0;
      for (std::size_t c = 0; c < t.shape.width; ++c) squares += rows[e + c] * rows[e + c];
      most = std::max(most, std::sqrt(squares));
    }
    return most;
  };
  return t.inputs().score_scale() * longest(t.q) * longest(t.k);
}

}  // namespace ullage::attention::testing
