// Scores recomputed from the layers that are read equal those of each model's own forward pass: names,
// layouts, biases, norms, scales, RoPE, QK-norm, clipping, soft caps and latent attention at once.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <string>
#include <vector>

#include "ullage/checkpoint/architectures.h"
#include "ullage/checkpoint/container.h"
#include "ullage/checkpoint/projection.h"

namespace ullage::checkpoint {
namespace {

namespace fs = std::filesystem;

const fs::path kFolder = fs::path(ULLAGE_TEST_DATA) / "checkpoint" / "forward";
constexpr double kTolerance = 1e-4;  // of the largest score; the models ran in F32

// [tokens, width] of numbers.
struct Rows {
  std::size_t count = 0, width = 0;
  std::vector<double> values;

  double* row(std::size_t at) { return &values[at * width]; }
  const double* row(std::size_t at) const { return &values[at * width]; }
};

Rows make_rows(std::size_t count, std::size_t width) {
  return {count, width, std::vector<double>(count * width)};
}

Rows read_rows(const TensorStore& store, const TensorInfo& tensor) {
  Rows rows = make_rows(tensor.elements() / tensor.shape.back(), tensor.shape.back());
  EXPECT_TRUE(read_elements(store, tensor, 0, std::span<double>(rows.values)).ok());
  return rows;
}

// y = x W_h^T + b_h
Rows project(const TensorStore& store, const Projection& projection, int head, const Rows& x) {
  std::vector<double> weight(elements_of(projection));
  EXPECT_TRUE(read_head(store, projection, head, std::span<double>(weight)).ok());
  EXPECT_EQ(static_cast<std::size_t>(projection.width), x.width);
  Rows y = make_rows(x.count, projection.rows);
  for (std::size_t t = 0; t < x.count; ++t)
    for (int r = 0; r < projection.rows; ++r) {
      double sum =
          projection.bias.empty() ? 0 : projection.bias[std::size_t(head) * projection.rows + r];
      for (std::size_t c = 0; c < x.width; ++c)
        sum += weight[std::size_t(r) * x.width + c] * x.row(t)[c];
      y.row(t)[r] = sum;
    }
  return y;
}

std::vector<Rows> project_all(const TensorStore& store, const Projection& projection,
                              const Rows& x) {
  std::vector<Rows> heads;
  for (int head = 0; head < projection.heads; ++head)
    heads.push_back(project(store, projection, head, x));
  return heads;
}

// Divides each token's numbers over `heads` by their root mean square, after taking the mean off.
void normalise(std::vector<Rows*> heads, bool layer, double eps) {
  for (std::size_t t = 0; t < heads[0]->count; ++t) {
    double mean = 0, square = 0, count = 0;
    for (const Rows* head : heads) count += static_cast<double>(head->width);
    for (const Rows* head : heads)
      for (std::size_t c = 0; c < head->width; ++c) mean += head->row(t)[c] / count;
    if (!layer) mean = 0;
    for (const Rows* head : heads)
      for (std::size_t c = 0; c < head->width; ++c)
        square += (head->row(t)[c] - mean) * (head->row(t)[c] - mean) / count;
    for (Rows* head : heads)
      for (std::size_t c = 0; c < head->width; ++c)
        head->row(t)[c] = (head->row(t)[c] - mean) / std::sqrt(square + eps);
  }
}

void norm_heads(const QkNorm& norm, double eps, std::vector<Rows>& heads,
                const std::vector<double>& gain, const std::vector<double>& bias) {
  std::vector<Rows*> all;
  for (Rows& head : heads) all.push_back(&head);
  if (norm.full_width)
    normalise(all, norm.kind == QkNormKind::layer, eps);
  else
    for (Rows* head : all) normalise({head}, norm.kind == QkNormKind::layer, eps);
  for (std::size_t h = 0; h < heads.size(); ++h)
    for (std::size_t t = 0; t < heads[h].count; ++t)
      for (std::size_t c = 0; c < heads[h].width; ++c) {
        double& value = heads[h].row(t)[c];
        value *= gain[h * heads[h].width + c];
        if (!bias.empty()) value += bias[h * heads[h].width + c];
      }
}

void turn(const Rope& rope, Rows& head) {
  const int pairs = rope.rotary_dim / 2;
  for (std::size_t t = 0; t < head.count; ++t)
    for (int p = 0; p < pairs; ++p) {
      const bool half = rope.pairing == RopePairing::half_split;
      double& a = head.row(t)[rope.first + (half ? p : 2 * p)];
      double& b = head.row(t)[rope.first + (half ? p + pairs : 2 * p + 1)];
      const double angle = static_cast<double>(t) * rope.inverse_frequency[p];
      const double was = a;
      a = rope.attention_factor * (was * std::cos(angle) - b * std::sin(angle));
      b = rope.attention_factor * (was * std::sin(angle) + b * std::cos(angle));
    }
}

// What queries or keys and values of a latent attention read: x, or gain o rms(x W^T + b) for the first
// `rows` rows of a down-projection, which the model does not need to keep.
Rows latent_of(const TensorStore& store, const InputNorm& norm, const std::string& name,
               const Rows& x) {
  const TensorInfo* tensor = store.find(name + ".weight");
  if (tensor == nullptr) return x;
  Rows y = make_rows(x.count, norm.width);
  const Rows weight = read_rows(store, *tensor);
  for (std::size_t t = 0; t < x.count; ++t)
    for (int r = 0; r < norm.width; ++r)
      for (std::size_t c = 0; c < x.width; ++c) y.row(t)[r] += weight.row(r)[c] * x.row(t)[c];
  normalise({&y}, false, 1e-6);
  for (std::size_t t = 0; t < y.count; ++t)
    for (int r = 0; r < norm.width; ++r) y.row(t)[r] *= norm.gain[r];
  return y;
}

double dot(const double* a, const double* b, std::size_t count) {
  double sum = 0;
  for (std::size_t c = 0; c < count; ++c) sum += a[c] * b[c];
  return sum;
}

// Scores of every head, [query tokens, key tokens] each, before any position bias.
std::vector<Rows> scores(const TensorStore& store, const AttentionLayer& layer, double eps,
                         const Rows& x, const Rows& xk) {
  Rows query_input = x, key_input = xk;
  if (layer.latent) {
    query_input = latent_of(store, layer.inputs[0].query, layer.name + ".q_a_proj", x);
    key_input = latent_of(store, layer.inputs[0].key, layer.name + ".kv_a_proj_with_mqa", x);
  }
  std::vector<Rows> query = project_all(store, layer.query, query_input);
  std::vector<Rows> key = project_all(store, layer.key, key_input);
  const auto clip = [&] {
    if (layer.clip_qkv == 0) return;
    for (auto* heads : {&query, &key})
      for (Rows& head : *heads)
        for (double& value : head.values)
          value = std::clamp(value, -layer.clip_qkv, layer.clip_qkv);
  };
  const auto norm = [&](bool after_rope) {
    if (!layer.qk_norm || layer.qk_norm->after_rope != after_rope) return;
    norm_heads(*layer.qk_norm, eps, query, layer.qk_norm->query_gain, layer.qk_norm->query_bias);
    norm_heads(*layer.qk_norm, eps, key, layer.qk_norm->key_gain, layer.qk_norm->key_bias);
  };
  norm(false);
  clip();
  std::vector<Rows> turned_query, turned_key;  // latent attention: a part of its own
  if (layer.latent) {
    turned_query = project_all(store, layer.latent->query_rope, query_input);
    turned_key = project_all(store, layer.latent->key_rope, x);
    for (auto* heads : {&turned_query, &turned_key})
      for (Rows& head : *heads) turn(layer.rope, head);
  } else if (layer.rope.pairing != RopePairing::none) {
    for (auto* heads : {&query, &key})
      for (Rows& head : *heads) turn(layer.rope, head);
  }
  norm(true);
  std::vector<Rows> all;
  for (int h = 0; h < layer.query_heads; ++h) {
    const Rows& k = key[h / (layer.query_heads / layer.kv_heads)];
    Rows s = make_rows(x.count, k.count);
    for (std::size_t i = 0; i < x.count; ++i) {
      const double position = static_cast<double>(i) + 1;
      const double temperature =
          1 + layer.temperature_scale * std::log1p(std::floor(position / layer.temperature_floor));
      for (std::size_t j = 0; j < k.count; ++j) {
        double sum = dot(query[h].row(i), k.row(j), k.width);
        if (layer.latent)
          sum += dot(turned_query[h].row(i), turned_key[0].row(j), turned_key[0].width);
        sum *= layer.score_scale * temperature;
        s.row(i)[j] = layer.soft_cap == 0 ? sum : layer.soft_cap * std::tanh(sum / layer.soft_cap);
      }
    }
    all.push_back(std::move(s));
  }
  return all;
}

// Whether every row of x can be what `input` describes.
bool describes(const InputNorm& input, const Rows& x) {
  if (static_cast<std::size_t>(input.width) != x.width) return false;
  for (std::size_t t = 0; t < x.count; ++t) {
    double square = 0, sum = 0;
    for (int c = 0; c < input.width; ++c) {
      double n = x.row(t)[c];
      if (!input.bias.empty()) n -= input.bias[c];
      if (!input.gain.empty()) n /= input.gain[c];
      square += n * n;
      sum += n;
    }
    if (square > input.squared_norm * (1 + 1e-4)) return false;
    // A norm leaves the mean square at 1; eps takes a little off where x is small.
    if (input.kind == InputKind::normalised && square < input.squared_norm * 0.99) return false;
    if (input.layer_norm && std::abs(sum) > 1e-4 * static_cast<double>(x.width)) return false;
  }
  return true;
}

class Forward : public testing::TestWithParam<std::string> {};

TEST_P(Forward, ScoresAreTheModels) {
  const fs::path folder = kFolder / GetParam();
  const auto container = open_container(folder.string());
  ASSERT_TRUE(container.ok()) << container.error().message();
  const auto model = read_attention(container->store, container->config, container->weights);
  ASSERT_TRUE(model.ok()) << model.error().message();
  const auto truth_at = locate((folder / "truth.safetensors").string());
  ASSERT_TRUE(truth_at.ok()) << truth_at.error().message();
  const auto truth = TensorStore::open(*truth_at);
  ASSERT_TRUE(truth.ok()) << truth.error().message();
  const TensorStore& store = container->store;
  const auto stated = container->config.optional_number("rms_norm_eps|layer_norm_eps|norm_eps");
  ASSERT_TRUE(stated.ok());
  const double eps = stated->value_or(1e-6);

  std::size_t compared = 0;
  std::vector<bool> seen(model->layers.size());
  for (const TensorInfo& tensor : truth->tensors()) {
    if (!tensor.name.ends_with(":z")) continue;
    const std::string of(tensor.name.substr(0, tensor.name.size() - 2));
    const std::string module = of.substr(of.find('!') == std::string::npos ? 0 : of.find('!') + 1);
    SCOPED_TRACE(of);
    const auto found =
        std::find_if(model->layers.begin(), model->layers.end(),
                     [&](const AttentionLayer& layer) { return layer.name == module; });
    ASSERT_NE(found, model->layers.end());
    const AttentionLayer& layer = *found;
    seen[static_cast<std::size_t>(found - model->layers.begin())] = true;

    const Rows x = read_rows(*truth, *truth->find(of + ":x"));
    const TensorInfo* other = truth->find(of + ":xk");
    EXPECT_EQ(other != nullptr, layer.cross);
    const Rows xk = other == nullptr ? x : read_rows(*truth, *other);
    const auto& block = [&](const LayerInput& input) -> const InputNorm& {
      return layer.latent ? layer.latent->rope_input : input.query;
    };
    EXPECT_TRUE(std::any_of(layer.inputs.begin(), layer.inputs.end(), [&](const LayerInput& input) {
      return describes(block(input), x) && (layer.latent || describes(input.key, xk));
    }));

    const Rows z = read_rows(*truth, tensor);
    const std::vector<Rows> ours = scores(store, layer, eps, x, xk);
    ASSERT_EQ(z.count, x.count * ours.size());
    double largest = 0;
    for (const double value : z.values)
      if (std::isfinite(value)) largest = std::max(largest, std::abs(value));
    for (std::size_t h = 0; h < ours.size(); ++h) {
      const double most =
          (layer.bias_constant.empty() ? 0 : layer.bias_constant[h]) +
          (layer.bias_slope.empty() ? 0 : layer.bias_slope[h] * static_cast<double>(xk.count - 1));
      double added = 0;
      for (std::size_t i = 0; i < x.count; ++i)
        for (std::size_t j = 0; j < xk.count; ++j) {
          const double value = z.row(h * x.count + i)[j];
          if (!std::isfinite(value)) continue;  // masked
          added = std::max(added, std::abs(value - ours[h].row(i)[j]));
          ++compared;
        }
      EXPECT_LE(added, most + kTolerance * largest) << "head " << h;
      // A slope is met where it is largest; a table's largest entry may be of a distance not seen.
      if (!layer.bias_slope.empty()) {
        EXPECT_GE(added, 0.98 * most) << "head " << h;
      }
    }
  }
  EXPECT_GT(compared, 0u);
  EXPECT_TRUE(std::all_of(seen.begin(), seen.end(), [](bool is) { return is; }));
}

std::vector<std::string> folders() {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(kFolder))
    if (entry.is_directory()) names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

INSTANTIATE_TEST_SUITE_P(Architectures, Forward, testing::ValuesIn(folders()), [](const auto& of) {
  std::string name = of.param;
  for (char& c : name)
    if (std::isalnum(static_cast<unsigned char>(c)) == 0) c = '_';
  return name;
});

TEST(ForwardData, EveryFolderIsRun) { EXPECT_EQ(folders().size(), 56u); }

}  // namespace
}  // namespace ullage::checkpoint
