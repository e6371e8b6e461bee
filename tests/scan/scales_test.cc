// Exported scales: no input at a bound saturates, and what has no bound is left out and named.
#include "ullage/scan/scales.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>

#include "ullage/formats/format.h"
#include "ullage/formats/scalar.h"

namespace ullage::scan {
namespace {

ScanResult scanned(const std::vector<double>& query, const std::vector<double>& key) {
  ScanResult result;
  result.format = "e4m3";
  LayerResult layer;
  layer.name = "model.layers.0.self_attn";
  const std::size_t group = query.size() / key.size();
  for (std::size_t h = 0; h < query.size(); ++h) {
    HeadResult head;
    head.head = static_cast<int>(h);
    head.kv_head = static_cast<int>(h / group);
    head.amax_query = query[h];
    head.amax_key = head.amax_value = key[h / group];
    layer.heads.push_back(head);
  }
  result.layers.push_back(layer);
  return result;
}

const checkpoint::SmallTensor& named(const ScaleExport& exported, const std::string& end) {
  for (const checkpoint::SmallTensor& tensor : exported.tensors)
    if (tensor.name.ends_with(end)) return tensor;
  static const checkpoint::SmallTensor kNone;
  ADD_FAILURE() << end;
  return kNone;
}

RC_GTEST_PROP(ExportScales, NothingSaturatesAtTheBound, ()) {
  const auto positive = rc::gen::map(rc::gen::inRange(1, 1 << 30), [](int x) { return x * 1e-6; });
  const auto query = *rc::gen::container<std::vector<double>>(8, positive);
  const auto key = *rc::gen::container<std::vector<double>>(2, positive);
  const auto exported = export_scales(scanned(query, key), Consumer::fa3, Tier::certificate);
  RC_ASSERT(exported.ok());
  const auto& descales = named(*exported, ".q_descale").values;
  RC_ASSERT(descales.size() == 2u);
  for (std::size_t h = 0; h < query.size(); ++h)
    RC_ASSERT(query[h] / static_cast<double>(descales[h / 4]) <= 448.0);
  const auto te = export_scales(scanned(query, key), Consumer::te, Tier::certificate);
  RC_ASSERT(te.ok());
  const double multiplier = static_cast<double>(named(*te, ".scale_fwd").values[2]);
  const double most = std::max(*std::max_element(query.begin(), query.end()),
                               *std::max_element(key.begin(), key.end()));
  RC_ASSERT(most * multiplier <= 448.0);
}

// As the kernel makes O: P and V cast to E4M3, their product rescaled and cast again.
TEST(ExportScales, OutputOfRoundedProbabilitiesFits) {
  for (const int tokens : {3, 105, 513, 4096}) {
    ScanResult result = scanned({1.0}, {1.0});
    result.context = tokens;
    const auto exported = export_scales(result, Consumer::te, Tier::certificate);
    ASSERT_TRUE(exported.ok());
    const std::vector<float>& scale = named(*exported, ".scale_fwd").values;
    const auto cast = [](double x) {
      return formats::round_to(formats::kE4M3, x, {formats::Overflow::saturate});
    };
    const double probability = cast(scale[8] / tokens) / scale[8];
    for (const double value : {1.0, 0.304, 0.9}) {  // 0.304 * 448 rounds up by 5.7 %
      const double output = tokens * probability * cast(value * scale[2]) / scale[2];
      EXPECT_LE(output * scale[3], 448.0) << tokens << " tokens, " << value;
    }
  }
}

TEST(ExportScales, LatentLayersAreLeftOutWhereTheCacheHoldsTheLatentVector) {
  ScanResult result = scanned({1, 1}, {1});
  for (HeadResult& head : result.layers[0].heads) head.bounds.latent = 3.0;
  EXPECT_EQ(export_scales(result, Consumer::vllm, Tier::certificate).error().code,
            Code::nothing_to_scan);
  EXPECT_TRUE(export_scales(result, Consumer::fa3, Tier::certificate).ok());
}

TEST(ExportScales, CompressedTensorsNamesTheAttentionClass) {
  ScanResult result = scanned({1, 1}, {1});
  const std::pair<const char*, const char*> kClasses[] = {{"LlamaForCausalLM", "LlamaAttention"},
                                                          {"GPT2LMHeadModel", "GPT2Attention"},
                                                          {"BertModel", "BertAttention"}};
  for (const auto& [model, attention] : kClasses) {
    result.model_class = model;
    const auto exported = export_scales(result, Consumer::compressed_tensors, Tier::certificate);
    ASSERT_TRUE(exported.ok());
    EXPECT_NE(exported->json.find("\"" + std::string(attention) + "\""), std::string::npos)
        << model;
    EXPECT_NE(exported->json.find("config_groups"), std::string::npos);
  }
}

TEST(ExportScales, RefusesWhatIsNotFinite) {
  ScanResult result = scanned({1, 1}, {1});
  result.not_finite.push_back({"w", 0, 0, 3});
  const auto exported = export_scales(result, Consumer::vllm, Tier::certificate);
  ASSERT_FALSE(exported.ok());
  EXPECT_EQ(exported.error().code, Code::not_finite);
  EXPECT_EQ(exported.error().where, "w");
}

TEST(ExportScales, LeavesOutLayersWithoutABoundAndSaysSo) {
  ScanResult result = scanned({1, 1}, {1});
  LayerResult second = result.layers[0];
  second.name = "other";
  second.heads[0].amax_value = Figure::none("no norm");
  result.layers.push_back(second);
  const auto exported = export_scales(result, Consumer::vllm, Tier::certificate);
  ASSERT_TRUE(exported.ok());
  EXPECT_EQ(exported->tensors.size(), 4u);
  ASSERT_EQ(exported->omitted.size(), 1u);
  EXPECT_NE(exported->omitted[0].find("no norm"), std::string::npos);
  const auto none = export_scales(result, Consumer::vllm, Tier::expected);
  ASSERT_FALSE(none.ok());
  EXPECT_EQ(none.error().code, Code::nothing_to_scan);
}

TEST(ExportScales, OnlyForFormatsThatKernelsRead) {
  ScanResult result = scanned({1}, {1});
  result.format = "fp16";
  EXPECT_EQ(export_scales(result, Consumer::vllm, Tier::certificate).error().code,
            Code::value_invalid);
}

TEST(Names, OfConsumersAndTiers) {
  EXPECT_EQ(*consumer_from_name("compressed-tensors"), Consumer::compressed_tensors);
  EXPECT_EQ(consumer_from_name("trt").error().code, Code::usage);
  EXPECT_EQ(*tier_from_name("expected"), Tier::expected);
  EXPECT_EQ(tier_from_name("hope").error().code, Code::usage);
}

}  // namespace
}  // namespace ullage::scan
