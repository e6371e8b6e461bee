// The library against conformance/*.json, bit for bit: arrays on each CPU path, and one number at a time.
#include <gtest/gtest.h>

#include <bit>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "formats/paths.h"
#include "ullage/formats/blocks.h"
#include "ullage/formats/cast.h"
#include "ullage/formats/random.h"
#include "ullage/formats/scalar.h"

namespace ullage::formats {
namespace {

using Json = nlohmann::json;
using Codes = std::vector<std::uint32_t>;

std::filesystem::path folder() {
  return std::filesystem::path(ULLAGE_TEST_DATA) / ".." / ".." / "conformance";
}

Json read(const std::filesystem::path& path) {
  std::ifstream stream(path);
  Json file = Json::parse(stream);
  EXPECT_EQ(file.at("schema"), 1) << path;
  EXPECT_EQ(file.at("version"), 1) << path;
  return file;
}

Format format_of(const Json& json) {
  const std::string name = json.at("name");
  const std::string nan = json.at("nan");
  Format format;
  name.copy(format.name, sizeof format.name - 1);
  format.exponent_bits = json.at("exponent_bits");
  format.mantissa_bits = json.at("mantissa_bits");
  format.bias = json.at("bias");
  format.nan = nan == "ieee"       ? NanCodes::ieee
               : nan == "all-ones" ? NanCodes::all_ones
               : nan == "none"     ? NanCodes::none
                                   : NanCodes::negative_zero;
  format.has_infinity = json.at("infinity");
  format.has_subnormals = json.at("subnormals");
  format.has_sign = json.at("sign");
  EXPECT_TRUE(check_format(format).ok()) << name;
  return format;
}

// Hexadecimal patterns as the numbers that have them.
template <class Number, class Pattern>
std::vector<Number> numbers(const Json& patterns) {
  std::vector<Number> values;
  for (const std::string text : patterns)
    values.push_back(std::bit_cast<Number>(static_cast<Pattern>(std::stoull(text, nullptr, 16))));
  return values;
}
std::vector<float> floats(const Json& patterns) { return numbers<float, std::uint32_t>(patterns); }

template <class Value>
Codes cast_array(const std::vector<Value>& values, const Format& format,
                 const CastOptions& options) {
  const std::int64_t shape[] = {static_cast<std::int64_t>(values.size())};
  const bool fp64 = sizeof(Value) == sizeof(double);
  const ArrayView view = {.data = values.data(),
                          .format = fp64 ? std::nullopt : std::optional<Format>(kFp32),
                          .shape = shape,
                          .strides = {}};
  std::vector<std::uint8_t> bytes(values.size() * format.bytes());
  EXPECT_TRUE(cast(view, format, bytes.data(), options).ok());
  Codes codes(values.size());
  for (std::size_t i = 0; i < codes.size(); ++i)
    std::memcpy(&codes[i], bytes.data() + i * format.bytes(), format.bytes());
  return codes;
}

template <class Value>
Codes cast_one_by_one(const std::vector<Value>& values, const Format& format,
                      const CastOptions& options) {
  Codes codes;
  for (const Value value : values)
    codes.push_back(encode(format, static_cast<double>(value), options, codes.size()));
  return codes;
}

// How many codes were compared; says where they part.
template <class Value>
std::size_t expect_codes(const std::vector<Value>& inputs, const Codes& expected,
                         const Codes& found, const std::string& what) {
  EXPECT_EQ(found.size(), expected.size()) << what;
  std::size_t wrong = 0;
  for (std::size_t i = 0; i < expected.size() && i < found.size(); ++i)
    if (found[i] != expected[i] && ++wrong <= 3)
      ADD_FAILURE() << what << ": " << std::hexfloat << inputs[i] << std::hex << " gives "
                    << found[i] << ", not " << expected[i];
  EXPECT_EQ(wrong, 0U) << what;
  return expected.size();
}

template <class Value>
std::size_t check_casts(const Json& file, const std::vector<Value>& inputs, bool arrays) {
  const Format format = format_of(file.at("format"));
  std::size_t compared = 0;
  for (const auto& [overflow, roundings] : file.at("codes").items())
    for (const auto& [rounding, codes] : roundings.items()) {
      const CastOptions options = {
          .overflow = overflow == "saturate" ? Overflow::saturate : Overflow::non_saturating,
          .rounding = *rounding_from_name(rounding)};
      compared += expect_codes(
          inputs, codes.template get<Codes>(),
          arrays ? cast_array(inputs, format, options) : cast_one_by_one(inputs, format, options),
          std::string(format.label()) + ' ' + overflow + ' ' + rounding);
    }
  return compared;
}

std::size_t check_all_casts(bool arrays) {
  std::size_t compared = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder())) {
    if (!entry.path().filename().string().starts_with("cast-")) continue;
    const Json file = read(entry.path());
    const Json& inputs = file.at("inputs");
    compared += file.at("input") == "fp64"
                    ? check_casts(file, numbers<double, std::uint64_t>(inputs), arrays)
                    : check_casts(file, floats(inputs), arrays);
  }
  return compared;
}

std::size_t check_stochastic(bool arrays) {
  std::size_t compared = 0;
  const Json file = read(folder() / "stochastic.json");
  for (const Json& run : file.at("runs")) {
    const Format format = format_of(run.at("format"));
    const std::vector<float> inputs = floats(run.at("inputs"));
    const auto hex = [&](const char* key) {
      return std::stoull(run.at(key).get<std::string>(), nullptr, 16);
    };
    for (std::size_t i = 0; i < inputs.size(); ++i)
      EXPECT_EQ(random_word(hex("seed"), hex("first_index") + i),
                std::stoull(run.at("words").at(i).get<std::string>(), nullptr, 16));
    for (const auto& [overflow, codes] : run.at("codes").items()) {
      const CastOptions options = {
          .overflow = overflow == "saturate" ? Overflow::saturate : Overflow::non_saturating,
          .rounding = Rounding::stochastic,
          .seed = hex("seed"),
          .first_index = hex("first_index")};
      compared += expect_codes(
          inputs, codes.get<Codes>(),
          arrays ? cast_array(inputs, format, options) : cast_one_by_one(inputs, format, options),
          std::string(format.label()) + " stochastic " + overflow);
    }
  }
  return compared;
}

struct Blocked {
  BlockArray shape;
  Codes codes;
  Codes scale_codes;
  std::vector<float> scales;
};

Blocked block_cast(const std::vector<float>& values, std::size_t rows, const BlockFormat& format,
                   const BlockOptions& options) {
  const std::int64_t shape[] = {static_cast<std::int64_t>(rows),
                                static_cast<std::int64_t>(values.size() / rows)};
  const ArrayView view = {.data = values.data(), .format = kFp32, .shape = shape, .strides = {}};
  Blocked blocked;
  blocked.shape = *block_shape(view, format);
  const std::size_t count = blocked.shape.scale_rows * blocked.shape.scale_columns;
  std::vector<std::uint8_t> codes(values.size());
  std::vector<std::uint8_t> scale_codes(format.scale == BlockScale::fp32 ? 0 : count);
  blocked.scales.resize(count);
  const Result<BlockArray> done =
      cast_blocks(view, format, codes, scale_codes, blocked.scales, options);
  EXPECT_TRUE(done.ok());
  if (done.ok()) blocked.shape = *done;
  blocked.codes.assign(codes.begin(), codes.end());
  blocked.scale_codes.assign(scale_codes.begin(), scale_codes.end());
  return blocked;
}

constexpr CastOptions kSaturate = {.overflow = Overflow::saturate};

class Conformance : public OnEachPath {};
INSTANTIATE_TEST_SUITE_P(Path, Conformance, testing::ValuesIn(kCpuPaths), path_name);

TEST_P(Conformance, CastsOfArrays) {
  EXPECT_GT(check_all_casts(true), 200000U);
  EXPECT_GT(check_stochastic(true), 4000U);
}

TEST_P(Conformance, MxBlocks) {
  const Json file = read(folder() / "mx.json");
  std::vector<float> inputs;
  for (const Json& block : file.at("blocks"))
    for (const float x : floats(block)) inputs.push_back(x);
  ASSERT_EQ(file.at("results").size(), 20U);
  for (const Json& result : file.at("results")) {
    const BlockFormat format = *find_block_format(result.at("format").get<std::string>());
    const std::string what =
        result.at("format").get<std::string>() + ' ' + result.at("rule").get<std::string>();
    EXPECT_EQ(format_of(result.at("element")), format.element) << what;
    const Blocked found = block_cast(
        inputs, file.at("blocks").size(), format,
        {.cast = kSaturate, .rule = *scale_rule_from_name(result.at("rule").get<std::string>())});
    EXPECT_EQ(found.scale_codes, result.at("scale_codes").get<Codes>()) << what;
    for (std::size_t block = 0; block < found.scale_codes.size(); ++block) {
      const Json& codes = result.at("codes").at(block);
      if (codes.is_null()) {  // a NaN scale: the elements say nothing
        EXPECT_EQ(found.scale_codes[block], 0xFFU);
        continue;
      }
      const auto first = found.codes.begin() + static_cast<std::ptrdiff_t>(32 * block);
      EXPECT_EQ(Codes(first, first + 32), codes.get<Codes>()) << what << " block " << block;
    }
  }
}

TEST_P(Conformance, Nvfp4) {
  const BlockFormat format = *find_block_format("nvfp4");
  const Json file = read(folder() / "nvfp4.json");
  ASSERT_GE(file.at("arrays").size(), 5U);
  for (const Json& array : file.at("arrays")) {
    const Blocked found =
        block_cast(floats(array.at("inputs")), array.at("rows"), format, {.cast = kSaturate});
    EXPECT_EQ(found.codes, array.at("codes").get<Codes>());
    EXPECT_EQ(found.scale_codes, array.at("scale_codes").get<Codes>());
    EXPECT_EQ(found.scales, floats(array.at("scales")));
    EXPECT_EQ(found.shape.global_scale, floats({array.at("global_scale")})[0]);
  }
}

TEST_P(Conformance, TilesMatchTheVectors) {
  const Json file = read(folder() / "block128.json");
  ASSERT_EQ(file.at("results").size(), 2U);
  for (const Json& result : file.at("results")) {
    const Blocked found =
        block_cast(floats(file.at("inputs")), file.at("rows"), *find_block_format("block128-e4m3"),
                   {.cast = kSaturate, .power_of_two = result.at("power_of_two")});
    EXPECT_EQ(found.codes, result.at("codes").get<Codes>());
    EXPECT_EQ(found.scales, floats(result.at("scales")));
  }
}

TEST(ConformanceOfOne, CastsOfOneNumber) {
  EXPECT_GT(check_all_casts(false), 200000U);
  EXPECT_GT(check_stochastic(false), 4000U);
}

TEST(ConformanceOfOne, MxScales) {
  const Json file = read(folder() / "mx-scales.json");
  const std::vector<float> amax = floats(file.at("amax"));
  ASSERT_EQ(file.at("elements").size(), 5U);
  for (const Json& element : file.at("elements")) {
    const Format format = format_of(element);
    const std::string name = element.at("name");
    for (const ScaleRule rule : kScaleRules) {
      Codes found;
      for (const float x : amax) found.push_back(mx_scale(rule, format, x));
      expect_codes(amax, file.at("scale_codes").at(name).at(name_of(rule)).get<Codes>(), found,
                   name + ' ' + name_of(rule));
      EXPECT_EQ(file.at("can_clip").at(name).at(name_of(rule)).get<bool>(),
                !clip_range(rule, format).empty())
          << name << ' ' << name_of(rule);
    }
  }
}

}  // namespace
}  // namespace ullage::formats
