// A scan whose Grams come from an engine: the same figures, and what the engine cannot do is done here.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "ullage/checkpoint/architectures.h"
#include "ullage/checkpoint/container.h"
#include "ullage/scan/scan.h"

namespace ullage::scan {
namespace {

using spectrum::Gram;
using spectrum::HeadRows;

// An engine on this CPU, from copies of the rows as the interface asks.
class CopyingEngine : public spectrum::GramEngine {
 public:
  explicit CopyingEngine(bool fits = true) : fits_(fits) {}

  const char* device() const override { return "cuda"; }
  Status begin(std::size_t heads) override {
    heads_.assign(heads, {});
    ++layers;
    return {};
  }
  Status add(std::size_t head, const HeadRows& rows) override {
    if (fails) return Error{Code::resource, "the engine has no memory", "engine", "", ""};
    Head& own = heads_[head];
    const std::size_t size = rows.element == spectrum::Element::bf16  ? 2
                             : rows.element == spectrum::Element::f32 ? 4
                                                                      : 8;
    own.bytes.resize(static_cast<std::size_t>(rows.stride * rows.rows) * size);
    std::memcpy(own.bytes.data(), rows.values, own.bytes.size());
    own.gain.assign(rows.gain.begin(), rows.gain.end());
    own.rows = rows;
    own.rows.values = own.bytes.data();
    own.rows.gain = own.gain;
    return {};
  }
  Result<spectrum::LayerGrams> finish(std::span<const spectrum::CrossPair> pairs) override {
    spectrum::LayerGrams out;
    for (const Head& head : heads_) {
      spectrum::HeadGrams made;
      made.fits =
          gram_pass(head.rows, workspace_, {.stored = &made.stored, .folded = &made.folded});
      made.fits = made.fits && fits_;
      out.heads.push_back(std::move(made));
    }
    for (const spectrum::CrossPair& pair : pairs) {
      const auto query = static_cast<std::size_t>(pair.query);
      const auto key = static_cast<std::size_t>(pair.key);
      spectrum::Matrix cross;
      EXPECT_TRUE(cross_gram(heads_[query].rows, out.heads[query].folded, heads_[key].rows,
                             out.heads[key].folded, workspace_, cross));
      out.cross.push_back(std::move(cross));
    }
    return out;
  }

  int layers = 0;
  bool fails = false;

 private:
  struct Head {
    std::vector<std::byte> bytes;
    std::vector<double> gain;
    HeadRows rows;
  };
  bool fits_;
  std::vector<Head> heads_;
  spectrum::GramWorkspace workspace_;
};

Result<ScanResult> scan_with(const std::string& name, std::shared_ptr<CopyingEngine> engine) {
  const auto path = std::filesystem::path(ULLAGE_TEST_DATA) / "checkpoint/forward" / name;
  ULLAGE_ASSIGN(checkpoint::Container container, checkpoint::open_container(path.string(), {}));
  ULLAGE_ASSIGN(const checkpoint::AttentionModel model,
                checkpoint::read_attention(container.store, container.config, container.weights));
  ScanOptions options;
  options.threads = 2;
  options.grams = std::move(engine);
  return scan(container, model, name, options);
}

// LayerNorm, RoPE with grouped keys, QK-norm, latent attention, cross-attention, ALiBi.
constexpr const char* kModels[] = {"bert", "llama-llama3", "qwen3", "deepseek_v2-lite",
                                   "bart", "bloom"};

class ScanWithEngine : public testing::TestWithParam<const char*> {};

TEST_P(ScanWithEngine, EveryFigureAgrees) {
  const auto path = std::filesystem::path(ULLAGE_TEST_DATA) / "checkpoint/forward" / GetParam();
  if (!std::filesystem::exists(path)) GTEST_FAIL() << path;
  const auto engine = std::make_shared<CopyingEngine>();
  const Result<ScanResult> plain = scan_with(GetParam(), nullptr);
  const Result<ScanResult> made = scan_with(GetParam(), engine);
  ASSERT_TRUE(plain.ok()) << plain.error().message();
  ASSERT_TRUE(made.ok()) << made.error().message();
  EXPECT_EQ(plain->device, "cpu");
  EXPECT_EQ(made->device, "cuda");
  ASSERT_EQ(plain->layers.size(), made->layers.size());
  for (std::size_t l = 0; l < plain->layers.size(); ++l) {
    for (std::size_t h = 0; h < plain->layers[l].heads.size(); ++h) {
      const auto want = figures_of(plain->layers[l].heads[h]);
      const auto found = figures_of(made->layers[l].heads[h]);
      ASSERT_EQ(want.size(), found.size());
      for (std::size_t f = 0; f < want.size(); ++f) {
        SCOPED_TRACE(testing::Message() << "layer " << l << " head " << h << ' ' << want[f].name);
        ASSERT_EQ(want[f].figure->known(), found[f].figure->known());
        EXPECT_NEAR(want[f].figure->value(), found[f].figure->value(),
                    1e-3 * std::abs(want[f].figure->value()) + 1e-12);
      }
    }
  }
}

TEST_P(ScanWithEngine, WhatDoesNotFitIsMadeHere) {
  const Result<ScanResult> plain = scan_with(GetParam(), nullptr);
  const Result<ScanResult> made = scan_with(GetParam(), std::make_shared<CopyingEngine>(false));
  ASSERT_TRUE(plain.ok() && made.ok());
  const auto rest = [](const ScanResult& result) {
    ScanResult copy = result;
    copy.seconds = 0;
    copy.bytes_read = 0;
    copy.device = "cpu";
    return to_json(copy);
  };
  EXPECT_EQ(rest(*plain), rest(*made));
}

INSTANTIATE_TEST_SUITE_P(Models, ScanWithEngine, testing::ValuesIn(kModels), [](const auto& of) {
  std::string name = of.param;
  for (char& c : name)
    if (c == '-') c = '_';
  return name;
});

TEST(ScanEngine, ItsErrorsEndTheScan) {
  const auto engine = std::make_shared<CopyingEngine>();
  engine->fails = true;
  const Result<ScanResult> made = scan_with("bert", engine);
  ASSERT_FALSE(made.ok());
  EXPECT_EQ(made.error().where, "engine");
}

}  // namespace
}  // namespace ullage::scan
