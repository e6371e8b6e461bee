// Bounds on what embeddings feed to layer 0: never below the largest input that exists, and close to it.
#include "checkpoint/embedding_bound.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

#include "checkpoint/made_model.h"

namespace ullage::checkpoint {
namespace {

using test::Made;
using test::read_made;
using test::Tensors;

double length(std::span<const double> x) {
  double sum = 0;
  for (const double value : x) sum += value * value;
  return std::sqrt(sum);
}

// x <- (I - 2 v v^T / |v|^2) x
void reflect(const std::vector<double>& v, std::vector<double>& x) {
  double dot = 0, square = 0;
  for (std::size_t i = 0; i < v.size(); ++i) {
    dot += v[i] * x[i];
    square += v[i] * v[i];
  }
  for (std::size_t i = 0; i < v.size(); ++i) x[i] -= 2 * dot / square * v[i];
}

// rows x columns with singular values `sigma`: a diagonal between products of reflections, so that the
// largest one is known.
std::vector<std::vector<double>> matrix_with(const std::vector<double>& sigma, int rows,
                                             int columns) {
  std::mt19937 random(3);
  std::normal_distribution<double> normal;
  std::vector<std::vector<double>> left(3, std::vector<double>(rows)),
      right(3, std::vector<double>(columns));
  for (auto* side : {&left, &right})
    for (auto& v : *side)
      for (double& value : v) value = normal(random);
  std::vector<std::vector<double>> a(rows, std::vector<double>(columns));
  for (std::size_t k = 0; k < sigma.size(); ++k) {
    std::vector<double> u(rows), w(columns);
    u[k] = w[k] = 1;
    for (const auto& v : left) reflect(v, u);
    for (const auto& v : right) reflect(v, w);
    for (int i = 0; i < rows; ++i)
      for (int j = 0; j < columns; ++j) a[i][j] += sigma[k] * u[i] * w[j];
  }
  return a;
}

TEST(NormBound, IsAboveAndClose) {
  struct Case {
    std::vector<double> sigma;
    int rows, columns;
    double slack;
  };
  const std::vector<Case> cases = {
      {{5.0, 1.0, 0.5}, 12, 7, 1e-3},          {{2.0, 2.0, 2.0, 2.0}, 40, 9, 1e-3},  // no gap
      {{1.0, 0.999, 0.998, 0.9}, 9, 40, 1e-2},                                       // a small gap
      {{1e-150, 1e-160}, 8, 8, 1e-2},  // squares near the smallest double
      {{1e100, 1e-100}, 8, 8, 1e-2},           {{3.0}, 300, 200, 1e-3},
  };
  for (const Case& it : cases) {
    NormBound bound(it.columns);
    for (const auto& row : matrix_with(it.sigma, it.rows, it.columns)) bound.add_row(row);
    // The made matrix has its norm up to rounding.
    EXPECT_GE(bound.value(), it.sigma[0] * (1 - 1e-13));
    EXPECT_LE(bound.value(), it.sigma[0] * (1 + it.slack));
  }
}

TEST(NormBound, ZeroWideAndNotFinite) {
  NormBound zero(4);
  zero.add_row(std::vector<double>(4, 0.0));
  EXPECT_EQ(zero.value(), 0);
  NormBound wide(NormBound::kMaxGramWidth + 1);
  wide.add_row(std::vector<double>(NormBound::kMaxGramWidth + 1, 1.0));
  EXPECT_NEAR(wide.value(), std::sqrt(1025.0), 1e-11);
  EXPECT_GE(wide.value(), std::sqrt(1025.0));
  for (const double bad : {std::numeric_limits<double>::infinity(), 1e200}) {
    NormBound infinite(2);
    infinite.add_row(std::vector<double>{bad, 1.0});
    EXPECT_EQ(infinite.value(), std::numeric_limits<double>::infinity());
  }
  NormBound nan(2);
  nan.add_row(std::vector<double>{std::numeric_limits<double>::quiet_NaN(), 1.0});
  EXPECT_TRUE(std::isnan(nan.value()));
}

constexpr int kWidth = 12, kInner = 6;

// Rows of a tensor as doubles.
std::vector<std::vector<double>> rows_of(const Made& made, const std::string& name) {
  const TensorInfo& tensor = *made.store->find(name);
  const std::uint64_t width = tensor.shape.back();
  std::vector<double> all(tensor.elements());
  EXPECT_TRUE(read_elements(*made.store, tensor, 0, std::span<double>(all)).ok());
  std::vector<std::vector<double>> rows;
  for (std::size_t at = 0; at < all.size(); at += width)
    rows.emplace_back(all.begin() + static_cast<std::ptrdiff_t>(at),
                      all.begin() + static_cast<std::ptrdiff_t>(at + width));
  return rows;
}

std::vector<double> times(const std::vector<std::vector<double>>& matrix,
                          const std::vector<double>& x) {
  std::vector<double> y;
  for (const auto& row : matrix) {
    double sum = 0;
    for (std::size_t c = 0; c < x.size(); ++c) sum += row[c] * x[c];
    y.push_back(sum);
  }
  return y;
}

Tensors opt_tensors(bool projected) {
  Tensors tensors;
  const std::string at = "model.decoder.layers.0.";
  for (const char* side : {"q", "k", "v"})
    tensors.add(at + "self_attn." + side + "_proj.weight", {kWidth, kWidth});
  tensors.add(at + "final_layer_norm.weight", {kWidth})
      .add("model.decoder.embed_positions.weight", {9, kWidth})
      .add("model.decoder.embed_tokens.weight", {50, projected ? 6u : 12u});
  if (projected) tensors.add("model.decoder.project_in.weight", {kWidth, kInner});
  return tensors;
}

constexpr const char* kOpt = R"({"model_type": "opt", "hidden_size": 12, "num_attention_heads": 3,
                                 "do_layer_norm_before": false})";

TEST(EmbeddingBound, RawTablesWithAndWithoutProjection) {
  for (const bool projected : {false, true}) {
    const Made made = read_made(kOpt, opt_tensors(projected));
    ASSERT_EQ(made.problem(), "");
    const InputNorm& input = made.layer().inputs[0].query;
    EXPECT_EQ(input.kind, InputKind::embedding);
    double largest = 0, of_positions = 0;
    const auto positions = rows_of(made, "model.decoder.embed_positions.weight");
    for (const auto& position : positions) of_positions = std::max(of_positions, length(position));
    for (const auto& token : rows_of(made, "model.decoder.embed_tokens.weight"))
      for (const auto& position : positions) {
        std::vector<double> x =
            projected ? times(rows_of(made, "model.decoder.project_in.weight"), token) : token;
        for (int c = 0; c < kWidth; ++c) x[static_cast<std::size_t>(c)] += position[c];
        largest = std::max(largest, length(x));
      }
    const double bound = std::sqrt(input.squared_norm);
    EXPECT_GE(bound, largest);
    EXPECT_LE(bound, 3 * largest);
  }
}

TEST(EmbeddingBound, ATableElsewhereOrOfAnotherWidth) {
  const Made without =
      read_made(kOpt, opt_tensors(false).remove("model.decoder.embed_tokens.weight"));
  ASSERT_EQ(without.problem(), "");
  EXPECT_EQ(without.layer().inputs[0].query.kind, InputKind::residual);
  EXPECT_EQ(without.layer().inputs[0].query.squared_norm, std::numeric_limits<double>::infinity());
  Tensors other = opt_tensors(false);
  other.add("model.decoder.embed_tokens.weight", {50, kWidth + 1});
  test::expect_error(read_made(kOpt, other), Code::config_mismatch, "expected 12, found 13");
}

// Electra: a projection behind the embedding's norm.
TEST(EmbeddingBound, ProjectedNorm) {
  Tensors tensors;
  const std::string at = "electra.encoder.layer.0.";
  for (const char* side : {"query", "key", "value"})
    tensors.add(at + "attention.self." + side + ".weight", {kWidth, kWidth});
  tensors.add(at + "output.LayerNorm.weight", {kWidth})
      .add("electra.embeddings.LayerNorm.weight", {kInner})
      .add("electra.embeddings.LayerNorm.bias", {kInner})
      .add("electra.embeddings_project.weight", {kWidth, kInner})
      .add("electra.embeddings_project.bias", {kWidth});
  const Made made = read_made(
      R"({"model_type": "electra", "hidden_size": 12, "num_attention_heads": 3})", tensors);
  ASSERT_EQ(made.problem(), "");
  const InputNorm& input = made.layer().inputs[0].query;
  ASSERT_EQ(input.kind, InputKind::embedding);
  const auto projection = rows_of(made, "electra.embeddings_project.weight");
  const auto offset = rows_of(made, "electra.embeddings_project.bias")[0];
  const auto gain = rows_of(made, "electra.embeddings.LayerNorm.weight")[0];
  const auto shift = rows_of(made, "electra.embeddings.LayerNorm.bias")[0];
  std::mt19937 random(5);
  std::normal_distribution<double> normal;
  double largest = 0;
  for (int trial = 0; trial < 20000; ++trial) {
    std::vector<double> n(kInner);
    double mean = 0;
    for (double& value : n) mean += (value = normal(random)) / kInner;
    for (double& value : n) value -= mean;
    const double scale = std::sqrt(static_cast<double>(kInner)) / length(n);
    for (int c = 0; c < kInner; ++c) n[c] = n[c] * scale * gain[c] + shift[c];
    std::vector<double> x = times(projection, n);
    for (int c = 0; c < kWidth; ++c) x[c] += offset[c];
    largest = std::max(largest, length(x));
  }
  const double bound = std::sqrt(input.squared_norm);
  EXPECT_GE(bound, largest);
  EXPECT_LE(bound, 1.6 * largest);
}

// Marian: tokens times sqrt(width) if scaled, and sines and cosines that no file holds.
TEST(EmbeddingBound, ScaledTokensAndSinusoids) {
  Tensors tensors;
  const std::string at = "model.encoder.layers.0.";
  for (const char* side : {"q", "k", "v"})
    tensors.add(at + "self_attn." + side + "_proj.weight", {16, 16});
  tensors.add(at + "final_layer_norm.weight", {16})
      .add("model.shared.weight", {2, 16}, std::vector<float>(32, 0.5f));
  const Made made = read_made(
      R"({"model_type": "marian", "d_model": 16, "encoder_attention_heads": 4,
          "scale_embedding": true})",
      tensors);
  ASSERT_EQ(made.problem(), "");
  EXPECT_NEAR(std::sqrt(made.layer().inputs[0].query.squared_norm), 2 * 4 + std::sqrt(8.0), 1e-12);
}

// A few layers that serve many depths: one input for each different layer before it.
TEST(SharedLayers, InputsByWhatComesBefore) {
  Tensors tensors;
  for (int group = 0; group < 2; ++group)
    for (int part = 0; part < 2; ++part) {
      const std::string at = "albert.encoder.albert_layer_groups." + std::to_string(group) +
                             ".albert_layers." + std::to_string(part) + ".";
      for (const char* side : {"query", "key", "value"})
        tensors.add(at + "attention." + side + ".weight", {16, 16});
      tensors.add(at + "full_layer_layer_norm.weight", {16});
    }
  tensors.add("albert.embeddings.LayerNorm.weight", {8})
      .add("albert.encoder.embedding_hidden_mapping_in.weight", {16, 8});
  const std::string config =
      R"({"model_type": "albert", "hidden_size": 16, "num_attention_heads": 4,
          "num_hidden_layers": 4, "num_hidden_groups": 2, "inner_group_num": )";
  const Made made = read_made(config + "2}", tensors);
  ASSERT_EQ(made.problem(), "");
  ASSERT_EQ(made.value().layers.size(), 4u);
  // Depths run 0.0 0.1 0.0 0.1 1.0 1.1 1.0 1.1.
  const auto names = [&](std::size_t layer) {
    std::vector<std::string> all;
    for (const LayerInput& input : made.layer(layer).inputs) {
      std::string name = input.query.name.substr(sizeof("albert.encoder.") - 1);
      all.push_back(name.substr(0, name.rfind('.', name.size() - 8)));
    }
    return all;
  };
  const std::string layers = "albert_layer_groups.";
  EXPECT_EQ(names(0), (std::vector<std::string>{"embedding_hidden_mapping_in.weight",
                                                layers + "0.albert_layers.1"}));
  EXPECT_EQ(names(1), (std::vector<std::string>{layers + "0.albert_layers.0"}));
  EXPECT_EQ(names(2),
            (std::vector<std::string>{layers + "0.albert_layers.1", layers + "1.albert_layers.1"}));
  EXPECT_EQ(names(3), (std::vector<std::string>{layers + "1.albert_layers.0"}));
  test::expect_error(read_made(config + "3}", tensors), Code::config_mismatch,
                     "expected 6, found 4");
}

}  // namespace
}  // namespace ullage::checkpoint
