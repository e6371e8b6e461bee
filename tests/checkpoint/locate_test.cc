// From a path or a hub name to the files of one checkpoint, and the refusal of other formats by name.
#include "ullage/checkpoint/locate.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <optional>
#include <string>
#include <vector>

#include "checkpoint/hub.h"
#include "support/safetensors_builder.h"

namespace ullage::checkpoint {
namespace {

using test::TempFolder;

Error refusal(const std::string& checkpoint, const LocateOptions& options = {}) {
  const auto location = locate(checkpoint, options);
  EXPECT_FALSE(location.ok()) << checkpoint;
  return location.ok() ? Error{} : location.error();
}

TEST(Locate, FindsOneFile) {
  const TempFolder folder;
  const std::string weights = folder.write("model.safetensors", "");
  const auto location = locate(folder.string());
  ASSERT_TRUE(location.ok()) << location.error().message();
  EXPECT_EQ(location->weights, weights);
  EXPECT_EQ(location->index, "");
  EXPECT_EQ(location->config, folder / "config.json");
  const auto direct = locate(weights);
  ASSERT_TRUE(direct.ok());
  EXPECT_EQ(direct->weights, weights);
  EXPECT_EQ(direct->folder, folder.string());
  EXPECT_EQ(direct->config, folder / "config.json");
}

TEST(Locate, FindsAnIndex) {
  const TempFolder folder;
  const std::string index = folder.write("model.safetensors.index.json", "");
  folder.write("model-00001-of-00001.safetensors", "");
  EXPECT_EQ(locate(folder.string())->index, index);
  EXPECT_EQ(locate(index)->index, index);
  folder.write("model.safetensors", "");
  const Error both = refusal(folder.string());
  EXPECT_EQ(both.code, Code::usage);
  EXPECT_EQ(both.found, "model.safetensors and model.safetensors.index.json");
}

TEST(Locate, TakesAnotherNameOnlyWhenItIsAlone) {
  const TempFolder folder;
  const std::string first = folder.write("a.safetensors", "");
  folder.write("adapter_model.safetensors", "");
  EXPECT_EQ(locate(folder.string())->weights, first);
  folder.write("b.safetensors", "");
  const Error two = refusal(folder.string());
  EXPECT_EQ(two.code, Code::usage);
  EXPECT_EQ(two.found, "a.safetensors and b.safetensors");
  const std::string index = folder.write("consolidated.safetensors.index.json", "");
  EXPECT_EQ(locate(folder.string())->index, index);
}

TEST(Locate, TakesAConfigFromElsewhere) {
  const TempFolder folder;
  folder.write("model.safetensors", "");
  EXPECT_EQ(locate(folder.string(), {.config = "/other.json"})->config, "/other.json");
}

struct Foreign {
  const char* file;
  const char* said;
};

TEST(Locate, RefusesOtherFormatsByName) {
  const std::vector<Foreign> files = {
      {"pytorch_model.bin", "AutoModel.from_pretrained('"},
      {"pytorch_model.bin.index.json", "AutoModel.from_pretrained('"},
      {"consolidated.00.pth", "torch.load('"},
      {"model.pt", "weights_only=True"},
      {"model.ckpt", "PyTorch pickle"},
      {"model.gguf", "GGUF is not read"},
      {"adapter_model.safetensors", "LoRA adapter without its base model"},
      {"adapter_config.json", "LoRA adapter"},
      {"tf_model.h5", "TensorFlow"},
      {"flax_model.msgpack", "Flax"},
      {"model.onnx", "ONNX"},
      {"model.npz", "NumPy"},
  };
  for (const Foreign& foreign : files) {
    const TempFolder folder;
    // A pipe: were it opened, the test would hang.
    ASSERT_EQ(::mkfifo((folder / foreign.file).c_str(), 0600), 0);
    const Error in_folder = refusal(folder.string());
    EXPECT_EQ(in_folder.code, Code::format_refused) << foreign.file;
    EXPECT_NE(in_folder.message().find(foreign.said), std::string::npos) << in_folder.message();
    if (std::string(foreign.file).ends_with(".safetensors")) continue;
    EXPECT_EQ(refusal(folder / foreign.file).code, Code::format_refused) << foreign.file;
  }
}

TEST(Locate, NamesWeightsBeforeLesserFiles) {
  const TempFolder folder;
  folder.write("a_training_state.pt", "");
  folder.write("pytorch_model.bin", "");
  EXPECT_EQ(refusal(folder.string()).where, "pytorch_model.bin");
}

TEST(Locate, QuotesNoPathThatAShellWouldRead) {
  const TempFolder folder;
  folder.write("a';id;'/pytorch_model.bin", "");
  const std::string message = refusal(folder / "a';id;'").message();
  EXPECT_NE(message.find("from_pretrained('FOLDER')"), std::string::npos) << message;
}

TEST(Locate, SaysWhatIsMissing) {
  const TempFolder folder;
  EXPECT_EQ(refusal(folder.string()).code, Code::not_found);
  EXPECT_EQ(refusal(folder / "gone").code, Code::not_found);
  EXPECT_EQ(refusal("").code, Code::usage);
  EXPECT_EQ(refusal(std::string("a\0b", 3)).code, Code::usage);
  EXPECT_EQ(refusal(folder.write("notes.txt", "")).code, Code::format_refused);
}

TEST(Hub, KnowsItsNames) {
  EXPECT_TRUE(is_hub_name("meta-llama/Llama-2-7b.x"));
  EXPECT_TRUE(is_hub_name("gpt2"));
  for (const char* name :
       {"", "/a", "a/", "a/b/c", "../a", "a/..", ".a/b", "a b/c", "a/b\n", "~/a"})
    EXPECT_FALSE(is_hub_name(name)) << name;
}

// Sets a variable for the length of a test.
class ScopedVariable {
 public:
  ScopedVariable(const char* name, const std::string& value) : name_(name) {
    if (const char* before = std::getenv(name)) before_ = before;
    ::setenv(name, value.c_str(), 1);
  }
  ~ScopedVariable() { before_ ? ::setenv(name_, before_->c_str(), 1) : ::unsetenv(name_); }
  ScopedVariable(const ScopedVariable&) = delete;
  ScopedVariable& operator=(const ScopedVariable&) = delete;

 private:
  const char* name_;
  std::optional<std::string> before_;
};

TEST(Hub, CacheFollowsTheVariables) {
  const ScopedVariable home("HOME", "/h"), xdg("XDG_CACHE_HOME", ""), hf_home("HF_HOME", ""),
      old("HUGGINGFACE_HUB_CACHE", ""), cache("HF_HUB_CACHE", "");
  EXPECT_EQ(default_hub_cache(), "/h/.cache/huggingface/hub");
  const ScopedVariable with_xdg("XDG_CACHE_HOME", "/x");
  EXPECT_EQ(default_hub_cache(), "/x/huggingface/hub");
  const ScopedVariable with_home("HF_HOME", "~/hf");
  EXPECT_EQ(default_hub_cache(), "/h/hf/hub");
  const ScopedVariable with_cache("HF_HUB_CACHE", "/c");
  EXPECT_EQ(default_hub_cache(), "/c");
}

TEST(Hub, ResolvesANameThroughItsLinks) {
  const TempFolder cache;
  const LocateOptions options = {.hub_cache = cache.string()};
  EXPECT_EQ(refusal("org/name", options).code, Code::not_found);
  cache.write("models--org--name/blobs/1234", "weights");
  cache.write("models--org--name/refs/main", "abc123\n");
  std::filesystem::create_directories(cache / "models--org--name/snapshots/abc123");
  std::filesystem::create_symlink("../../blobs/1234",
                                  cache / "models--org--name/snapshots/abc123/model.safetensors");
  const auto location = locate("org/name", options);
  ASSERT_TRUE(location.ok()) << location.error().message();
  EXPECT_EQ(location->folder, cache / "models--org--name/snapshots/abc123");
  EXPECT_EQ(location->weights, location->folder + "/model.safetensors");

  cache.write("models--org--name/refs/main", "def456");
  EXPECT_EQ(refusal("org/name", options).code, Code::not_found);
  cache.write("models--org--name/refs/main", "../../../etc");
  EXPECT_EQ(refusal("org/name", options).code, Code::path_escape);
  std::filesystem::remove(cache / "models--org--name/refs/main");
  EXPECT_TRUE(locate("org/name", options).ok());  // the only revision there is
  std::filesystem::create_directory(cache / "models--org--name/snapshots/def456");
  EXPECT_EQ(refusal("org/name", options).code, Code::not_found);
}

}  // namespace
}  // namespace ullage::checkpoint
