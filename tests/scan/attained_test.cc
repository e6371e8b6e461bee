// A scan of checkpoints made on the spot, against what chosen inputs attain: computed here from the weights alone.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "support/safetensors_builder.h"
#include "ullage/checkpoint/architectures.h"
#include "ullage/checkpoint/container.h"
#include "ullage/scan/scan.h"
#include "ullage/spectrum/dense.h"

namespace ullage::scan {
namespace {

using spectrum::Matrix;
using test::StoredTensor;

constexpr int kWidth = 16;
constexpr int kHead = 8;
const double kRootWidth = std::sqrt(kWidth);
const double kScale = 1 / std::sqrt(kHead);

using Values = std::vector<float>;

Values zeros(int n) { return Values(static_cast<std::size_t>(n)); }

Values gaussian(int n, std::uint64_t seed, double deviation = 1) {
  std::mt19937_64 random(seed);
  std::normal_distribution<double> normal;
  Values out = zeros(n);
  for (float& value : out) value = static_cast<float>(deviation * normal(random));
  return out;
}

Matrix matrix_of(const Values& values) {
  Matrix out(static_cast<int>(values.size()) / kWidth, kWidth);
  std::copy(values.begin(), values.end(), out.data());
  return out;
}

double norm_of(const Matrix& a) { return spectrum::singular_values(a)[0]; }
double longest_row(const Matrix& a) {
  double longest = 0;
  for (int i = 0; i < a.rows(); ++i) longest = std::max(longest, spectrum::norm2(a.row(i)));
  return longest;
}

// One layer of one head behind an RMS norm, under the names of Llama's tensors.
struct Model {
  std::string type = "qwen2";
  std::string config = {};  // further keys, each with a comma before it
  Values gain = Values(kWidth, 1);
  Values query = zeros(kHead * kWidth), key = query, value = query;
  std::optional<Values> query_bias = {}, key_bias = {}, value_bias = {};
  std::vector<StoredTensor> more = {};
  std::vector<double> wide = {};  // q's rows in FP64 instead
  std::vector<float> gains = {};  // more uses of the layer, behind norms with this gain throughout

  [[nodiscard]] Result<ScanResult> scanned(const ScanOptions& options = {}) const {
    const std::string attention = "model.layers.0.self_attn.";
    std::vector<StoredTensor> tensors = more;
    const auto add = [&](const std::string& name, std::vector<std::uint64_t> shape,
                         const Values& values) {
      tensors.push_back(test::f32_tensor(name, std::move(shape), values));
    };
    add("model.layers.0.input_layernorm.weight", {kWidth}, gain);
    add("model.norm.weight", {kWidth}, gain);
    if (wide.empty())
      add(attention + "q_proj.weight", {kHead, kWidth}, query);
    else
      tensors.push_back(
          {attention + "q_proj.weight", "F64", {kHead, kWidth}, test::bytes_of(wide)});
    add(attention + "k_proj.weight", {kHead, kWidth}, key);
    add(attention + "v_proj.weight", {kHead, kWidth}, value);
    if (query_bias) add(attention + "q_proj.bias", {kHead}, *query_bias);
    if (key_bias) add(attention + "k_proj.bias", {kHead}, *key_bias);
    if (value_bias) add(attention + "v_proj.bias", {kHead}, *value_bias);
    const test::TempFolder folder;
    folder.write("model.safetensors", test::safetensors_file(tensors));
    folder.write("config.json", R"({"model_type": ")" + type +
                                    R"(", "hidden_size": 16, "num_attention_heads": 1,
        "num_key_value_heads": 1, "head_dim": 8, "num_hidden_layers": 1, "rope_theta": 10000.0,
        "max_position_embeddings": 64)" +
                                    config + "}");
    ULLAGE_ASSIGN(checkpoint::Container container, checkpoint::open_container(folder.string(), {}));
    ULLAGE_ASSIGN(checkpoint::AttentionModel model,
                  checkpoint::read_attention(container.store, container.config, container.weights));
    for (const double more_gain : gains) {
      checkpoint::LayerInput use = model.layers.at(0).inputs.at(0);
      use.query.gain.assign(kWidth, more_gain);
      use.key.gain = use.query.gain;
      model.layers[0].inputs.push_back(std::move(use));
    }
    return scan(container, model, "made", options);
  }
  [[nodiscard]] HeadResult head(const ScanOptions& options = {}) const {
    const auto found = scanned(options);
    EXPECT_TRUE(found.ok()) << found.error().message();
    return found.ok() ? found->layers.at(0).heads.at(0) : HeadResult();
  }
};

// YaRN's factor of q and of k.
constexpr const char* kYarn =
    R"(, "rope_scaling": {"rope_type": "yarn", "factor": 64.0, "original_max_position_embeddings": 16})";
const double kYarnFactor = 0.1 * std::log(64) + 1;

// At offset 0 the score is factor^2 n^T A^T B n'.
TEST(ScanOfRope, CountsItsFactor) {
  Model model{.config = kYarn};
  model.query = gaussian(kHead * kWidth, 1);
  model.key = gaussian(kHead * kWidth, 2);
  const Matrix query = matrix_of(model.query), key = matrix_of(model.key);
  const HeadResult head = model.head();
  EXPECT_GE(head.bounds.certificate.value(),
            kScale * kWidth * kYarnFactor * kYarnFactor *
                norm_of(spectrum::transposed_multiply(query, key)));
  EXPECT_NEAR(head.bounds.naive.value(),
              kScale * kWidth * kYarnFactor * kYarnFactor * norm_of(query) * norm_of(key),
              1e-3 * head.bounds.naive.value());
  EXPECT_GE(head.amax_query.value(), kRootWidth * kYarnFactor * longest_row(query));
  EXPECT_GE(head.amax_key.value(), kRootWidth * kYarnFactor * longest_row(key));
}

// Inputs that are the norm's bias, of which a head's rows leave almost nothing: a sum that cancels is rounding in FP64.
// Products of FP32 numbers are exact in 64 bits of significand, and so are their sums here.
TEST(ScanOfACancellingBias, BoundsTheExactValue) {
  Model model{.type = "phi", .config = R"(, "partial_rotary_factor": 0.5)"};
  model.gain = zeros(kWidth);
  Values beta = zeros(kWidth);
  beta[0] = 1;
  beta[1] = 0x1p-54F;
  beta[2] = -1;
  for (Values* side : {&model.query, &model.key, &model.value}) {
    (*side)[0] = (*side)[1] = (*side)[2] = 1;  // (1 + 2^-54) - 1
  }
  model.query_bias = model.key_bias = model.value_bias = zeros(kHead);
  model.more.push_back(test::f32_tensor("model.layers.0.input_layernorm.bias", {kWidth}, beta));
  model.more.push_back(
      test::f32_tensor("model.layers.0.self_attn.dense.weight", {kHead, kHead}, zeros(64)));
  const HeadResult head = model.head();
  EXPECT_GE(head.amax_value.value(), 0x1p-54);
  EXPECT_GE(head.amax_query.value(), 0x1p-54);
  EXPECT_GE(head.amax_key.value(), 0x1p-54);
  EXPECT_GE(head.bounds.certificate.value(), kScale * 0x1p-108);
  ScanOptions exact;
  exact.exact_context = true;
  exact.context = 1;
  EXPECT_GE(model.head(exact).bounds.certificate.value(), kScale * 0x1p-108);
}

// A layer that two depths share has the headroom of the use that has less.
TEST(ScanOfASharedLayer, TakesTheLargerUse) {
  Model model{.type = "llama"};
  model.query = gaussian(kHead * kWidth, 4);
  model.key = gaussian(kHead * kWidth, 5);
  const double once = model.head().headroom_bits[0].value();
  model.gains = {4.0F, 2.0F};
  EXPECT_NEAR(model.head().headroom_bits[0].value(), once - 4, 1e-6);  // 4^2 times the score
}

// Finite weights are not called infinite because their squares are.
TEST(ScanOutOfRange, SaysSo) {
  for (const double size : {1e150, 1e-160}) {
    Model model;
    model.query_bias = model.key_bias = model.value_bias = zeros(kHead);
    model.wide = std::vector<double>(kHead * kWidth, size);
    const auto found = model.scanned();
    ASSERT_FALSE(found.ok());
    EXPECT_EQ(found.error().code, Code::nothing_to_scan);
    EXPECT_EQ(found.error().message().find("NaN"), std::string::npos) << found.error().message();
    EXPECT_NE(found.error().message().find("range"), std::string::npos) << found.error().message();
  }
}

}  // namespace
}  // namespace ullage::scan
