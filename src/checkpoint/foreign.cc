#include "checkpoint/foreign.h"

#include <algorithm>
#include <string_view>

#include "checkpoint/file.h"
#include "ullage/base/path.h"

namespace ullage::checkpoint {
namespace {

enum class Kind { pickle_weights, pickle_file, gguf, adapter, other };

struct Pattern {
  std::string_view prefix, suffix;
  Kind kind;
  const char* format;
};

// The first that fits holds; most telling first.
constexpr Pattern kPatterns[] = {
    {"pytorch_model", ".bin", Kind::pickle_weights, "a PyTorch pickle"},
    {"pytorch_model", ".bin.index.json", Kind::pickle_weights, "a PyTorch pickle"},
    {"", ".bin", Kind::pickle_weights, "a PyTorch pickle"},
    {"", ".pt", Kind::pickle_file, "a PyTorch pickle"},
    {"", ".pth", Kind::pickle_file, "a PyTorch pickle"},
    {"", ".ckpt", Kind::pickle_file, "a PyTorch pickle"},
    {"", ".pkl", Kind::pickle_file, "a pickle"},
    {"", ".gguf", Kind::gguf, "GGUF"},
    {"adapter_", ".safetensors", Kind::adapter, "a LoRA adapter"},
    {"adapter_config", ".json", Kind::adapter, "a LoRA adapter"},
    {"", ".h5", Kind::other, "TensorFlow or Keras (HDF5)"},
    {"", ".msgpack", Kind::other, "Flax"},
    {"", ".onnx", Kind::other, "ONNX"},
    {"", ".npz", Kind::other, "NumPy"},
    {"", ".tflite", Kind::other, "TensorFlow Lite"},
    {"", ".nemo", Kind::other, "NeMo"},
    {"", ".mlmodel", Kind::other, "Core ML"},
};

const Pattern* match(std::string_view name) {
  const auto* found =
      std::find_if(std::begin(kPatterns), std::end(kPatterns), [&](const Pattern& pattern) {
        return name.starts_with(pattern.prefix) && name.ends_with(pattern.suffix);
      });
  return found == std::end(kPatterns) ? nullptr : found;
}

// A path to paste into a shell command: as it is when nothing in it means something there.
std::string shell_word(const std::string& path, const char* stand_in) {
  const bool plain = std::all_of(path.begin(), path.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '/' ||
           c == '.' || c == '_' || c == '-';
  });
  return plain && !path.empty() && path.front() != '-' && path.size() <= 120 ? path : stand_in;
}

Error refuse(const Pattern& pattern, const std::string& folder, const std::string& name) {
  constexpr const char* kPickle =
      " can run code and is never opened; convert it where you trust it: python -c ";
  std::string what = pattern.format;
  switch (pattern.kind) {
    case Kind::pickle_weights: {
      const std::string word = shell_word(folder, "FOLDER");
      what += kPickle;
      what += "\"from transformers import AutoModel; AutoModel.from_pretrained('" + word +
              "').save_pretrained('" + word + "-safetensors')\"";
      break;
    }
    case Kind::pickle_file: {
      const std::string word = shell_word(join_path(folder, name), "FILE");
      what += kPickle;
      what += "\"import torch, safetensors.torch as s; s.save_file(torch.load('" + word +
              "', weights_only=True), '" + word + ".safetensors')\"";
      break;
    }
    case Kind::gguf:
      what += " is not read; scan the safetensors checkpoint that it was made from";
      break;
    case Kind::adapter:
      what +=
          " without its base model; merge them first (PEFT: merge_and_unload(), then "
          "save_pretrained()) and scan the result";
      break;
    case Kind::other:
      what += " is not read; scan a safetensors checkpoint of the same model";
      break;
  }
  return {Code::format_refused, std::move(what), name, {}, {}};
}

}  // namespace

std::optional<Error> foreign_file(const std::string& path) {
  const Pattern* pattern = match(base_name(path));
  if (pattern == nullptr) return std::nullopt;
  return refuse(*pattern, folder_name(path), base_name(path));
}

Error foreign_folder(const std::string& folder, const std::vector<std::string>& names) {
  const Pattern* best = nullptr;
  const std::string* best_name = nullptr;
  for (const std::string& name : names) {
    const Pattern* pattern = match(name);
    if (pattern == nullptr || (best != nullptr && pattern >= best)) continue;
    best = pattern;
    best_name = &name;
  }
  if (best != nullptr) return refuse(*best, folder, *best_name);
  return {Code::not_found, "there are no .safetensors weights in this folder", folder, {}, {}};
}

}  // namespace ullage::checkpoint
