// Small checkpoints made from a config and named tensors, read into attention layers.
#pragma once

#include <map>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "support/safetensors_builder.h"
#include "ullage/checkpoint/architectures.h"
#include "ullage/checkpoint/locate.h"

namespace ullage::checkpoint::test {

using ullage::test::StoredTensor;
using ullage::test::TempFolder;

// Tensors by name; F32 with values that differ everywhere.
class Tensors {
 public:
  Tensors& add(const std::string& name, std::vector<std::uint64_t> shape) {
    std::size_t count = 1;
    for (const std::uint64_t size : shape) count *= size;
    std::vector<float> values(count);
    for (float& value : values) value = std::normal_distribution<float>(0.5f, 1.0f)(random_);
    return add(name, std::move(shape), values);
  }
  Tensors& add(const std::string& name, std::vector<std::uint64_t> shape,
               const std::vector<float>& values) {
    tensors_[name] = ullage::test::f32_tensor(name, std::move(shape), values);
    return *this;
  }
  Tensors& add(StoredTensor tensor) {
    tensors_[tensor.name] = std::move(tensor);
    return *this;
  }
  Tensors& remove(const std::string& name) {
    EXPECT_EQ(tensors_.erase(name), 1u) << name;
    return *this;
  }
  Tensors& rename(const std::string& from, const std::string& to) {
    StoredTensor tensor = tensors_.at(from);
    tensors_.erase(from);
    tensor.name = to;
    return add(std::move(tensor));
  }
  std::vector<StoredTensor> list() const {
    std::vector<StoredTensor> all;
    for (const auto& [name, tensor] : tensors_) all.push_back(tensor);
    return all;
  }

 private:
  std::map<std::string, StoredTensor> tensors_;
  std::mt19937 random_{7};
};

// q, k, v and norm of a Llama: hidden 16, 4 heads of 4, 2 kv heads.
inline Tensors llama_tensors(int layers = 2, const std::string& prefix = "model.") {
  Tensors tensors;
  for (int i = 0; i < layers; ++i) {
    const std::string at = prefix + "layers." + std::to_string(i) + ".";
    tensors.add(at + "self_attn.q_proj.weight", {16, 16})
        .add(at + "self_attn.k_proj.weight", {8, 16})
        .add(at + "self_attn.v_proj.weight", {8, 16})
        .add(at + "input_layernorm.weight", {16});
  }
  return tensors;
}

// A config of `keys` ("\"n_head\": 4, ...") over those of such a Llama.
inline std::string llama_config(const std::string& more = {}, const std::string& type = "llama") {
  return "{\"model_type\": \"" + type +
         "\", \"hidden_size\": 16, \"num_attention_heads\": 4, \"num_key_value_heads\": 2, "
         "\"num_hidden_layers\": 2" +
         (more.empty() ? "" : ", " + more) + "}";
}

// What was read, with the store that it points into.
struct Made {
  std::shared_ptr<TempFolder> folder;
  std::shared_ptr<TensorStore> store;
  Result<AttentionModel> model;

  const AttentionModel& value() const { return model.value(); }
  const AttentionLayer& layer(std::size_t at = 0) const { return model.value().layers.at(at); }
  // "" when it was read.
  std::string problem() const { return model.ok() ? "" : model.error().message(); }
};

inline Made read_made(const std::string& config, const Tensors& tensors) {
  auto folder = std::make_shared<TempFolder>();
  folder->write("model.safetensors", ullage::test::safetensors_file(tensors.list()));
  auto location = locate(folder->string());
  EXPECT_TRUE(location.ok());
  auto store = TensorStore::open(*location);
  EXPECT_TRUE(store.ok()) << (store.ok() ? "" : store.error().message());
  auto shared = std::make_shared<TensorStore>(std::move(*store));
  auto parsed = Config::parse(config, "config.json");
  EXPECT_TRUE(parsed.ok()) << (parsed.ok() ? "" : parsed.error().message());
  auto model = read_attention(*shared, *parsed);
  return {folder, shared, std::move(model)};
}

inline void expect_error(const Made& made, Code code, const std::string& part) {
  ASSERT_FALSE(made.model.ok());
  EXPECT_EQ(made.model.error().code, code) << made.problem();
  EXPECT_NE(made.problem().find(part), std::string::npos) << made.problem();
}

}  // namespace ullage::checkpoint::test
