// The 28 heads of tests/data/spectrum/heads.json: small heads of every kind with float64 reference values, made
// with NumPy by another implementation (singular values by LAPACK, optima by BFGS, suprema over 511 offsets).
#pragma once

#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "spectrum/made_rows.h"
#include "ullage/spectrum/rope.h"

namespace ullage::spectrum {

struct VectorHead {
  std::string name;
  Matrix a;
  Matrix b;
  std::vector<double> bias_a;
  std::vector<double> bias_b;
  double scale = 1.0;
  bool layer_norm = false;
  bool rope = false;
  Rotation rotation;
  nlohmann::json expect;
};

inline std::vector<VectorHead> vector_heads() {
  std::ifstream file(std::string(ULLAGE_TEST_DATA) + "/spectrum/heads.json");
  const nlohmann::json all = nlohmann::json::parse(file);
  const auto matrix = [](const nlohmann::json& rows) {
    Matrix out(static_cast<int>(rows.size()), static_cast<int>(rows[0].size()));
    for (int i = 0; i < out.rows(); ++i) {
      for (int j = 0; j < out.columns(); ++j) out(i, j) = rows[i][j].get<double>() / 256.0;
    }
    return out;
  };
  const auto vector = [](const nlohmann::json& values) {
    auto out = values.get<std::vector<double>>();
    for (double& value : out) value /= 256.0;
    return out;
  };
  std::vector<VectorHead> out;
  for (const nlohmann::json& one : all["cases"]) {
    VectorHead head{.name = one["name"],
                    .a = matrix(one["A"]),
                    .b = matrix(one["B"]),
                    .bias_a = vector(one["a"]),
                    .bias_b = vector(one["b"]),
                    .scale = one["s"],
                    .layer_norm = one["layernorm"],
                    .rope = !one["rope"].is_null(),
                    .rotation = {},
                    .expect = one["expect"]};
    if (head.rope) {
      const auto pairing =
          one["rope"]["pairing"] == "half" ? Pairing::half_split : Pairing::interleaved;
      head.rotation = make_rotation(head.a.rows(), one["rope"]["rotary_dim"], pairing,
                                    one["rope"]["freqs"].get<std::vector<double>>())
                          .value();
    }
    out.push_back(std::move(head));
  }
  return out;
}

// The precise Gram of rows given as a matrix.
inline Gram gram_from(const Matrix& rows, bool layer_norm) {
  const MadeRows made(rows, Element::f64, {}, layer_norm);
  GramWorkspace workspace;
  Gram out;
  if (!gram(made.rows, Arithmetic::precise, workspace, out)) std::abort();
  return out;
}

}  // namespace ullage::spectrum
