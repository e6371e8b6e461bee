// The header of a safetensors file: what is taken, and one test for every rule that can be broken.
#include "ullage/checkpoint/header.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <cstring>
#include <string>
#include <vector>

#include "support/safetensors_builder.h"

namespace ullage::checkpoint {
namespace {

using test::StoredTensor;
__extension__ using Uint128 = unsigned __int128;

Result<Header> parse(const std::string& json, std::uint64_t data_bytes) {
  return parse_header(json, 8 + json.size() + data_bytes, "f");
}

Result<Header> parse(const std::vector<StoredTensor>& tensors) {
  const test::Parts parts = test::safetensors_parts(tensors);
  return parse(parts.json, parts.data.size());
}

// As a reader of whole files does it: length, header, the rest.
Result<Header> parse_file(const std::string& bytes) {
  const auto* start = reinterpret_cast<const unsigned char*>(bytes.data());
  ULLAGE_ASSIGN(const std::uint64_t length,
                header_length({start, std::min<std::size_t>(8, bytes.size())}, bytes.size(), "f"));
  return parse_header(bytes.substr(8, length), bytes.size(), "f");
}

TEST(Header, ReadsNamesTypesShapesAndPlaces) {
  const auto header = parse({{"b", "F32", {2, 3}, std::string(24, 'x')},
                             {"", "BF16", {}, "zz"},
                             {"a", "I64", {3, 0, 5}, ""},
                             {"c", "F4", {8}, "1234"}});
  ASSERT_TRUE(header.ok()) << header.error().message();
  ASSERT_EQ(header->tensors().size(), 4U);
  const TensorInfo* b = header->find("b");
  ASSERT_NE(b, nullptr);
  EXPECT_EQ(b->dtype, Dtype::f32);
  EXPECT_EQ(shape_text(b->shape), "[2, 3]");
  EXPECT_EQ(b->bytes, 24U);
  EXPECT_EQ(b->elements(), 6U);
  const TensorInfo* scalar = header->find("");
  ASSERT_NE(scalar, nullptr);
  EXPECT_TRUE(scalar->shape.empty());
  EXPECT_EQ(scalar->begin, b->begin + 24);
  EXPECT_EQ(header->find("a")->elements(), 0U);
  EXPECT_EQ(header->find("c")->elements(), 8U);
  EXPECT_EQ(header->find("d"), nullptr);
}

TEST(Header, TakesWhatTheReferenceReaderTakes) {
  const char* entry = R"("z":{"dtype":"U8","shape":[1],"data_offsets":[0,1]})";
  const auto takes = [](const std::string& json, std::uint64_t data) {
    const auto header = parse(json, data);
    EXPECT_TRUE(header.ok()) << json << '\n' << (header.ok() ? "" : header.error().message());
  };
  takes("{}", 0);
  takes(std::string(" \n{") + entry + "}   ", 1);
  takes(std::string("{\"__metadata__\":{\"format\":\"pt\",\"dtype\":\"F32\"},") + entry + "}", 1);
  takes(std::string("{\"__metadata__\":null,") + entry + "}", 1);
  takes(R"({"z":{"data_offsets":[0,0],"shape":[0,18446744073709551615],"dtype":"U8"}})", 0);
  takes(
      R"({"b":{"dtype":"U8","shape":[1],"data_offsets":[1,2]},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})",
      2);
}

TEST(Header, SortsTensorsByTheirData) {
  const auto header = parse(
      R"({"b":{"dtype":"U8","shape":[1],"data_offsets":[1,2]},"e":{"dtype":"U8","shape":[0],"data_offsets":[1,1]},)"
      R"("a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"d":{"dtype":"U8","shape":[0],"data_offsets":[1,1]}})",
      2);
  ASSERT_TRUE(header.ok()) << header.error().message();
  std::string order;
  for (const TensorInfo& tensor : header->tensors()) order += tensor.name;
  EXPECT_EQ(order, "adeb");
}

TEST(Header, ViewsStayValidWhenMoved) {
  auto header =
      parse({{"a", "U8", {1}, "x"}});  // short enough for a string without memory of its own
  ASSERT_TRUE(header.ok());
  const Header moved = std::move(header).value();
  EXPECT_EQ(moved.tensors()[0].name, "a");
  EXPECT_EQ(moved.tensors()[0].shape[0], 1U);
}

struct Broken {
  const char* rule;
  const char* json;
  std::uint64_t data;
  Code code;
};

std::ostream& operator<<(std::ostream& out, const Broken& broken) { return out << broken.rule; }

class HeaderRule : public testing::TestWithParam<Broken> {};

TEST_P(HeaderRule, IsKept) {
  const auto header = parse(GetParam().json, GetParam().data);
  ASSERT_FALSE(header.ok());
  EXPECT_EQ(header.error().code, GetParam().code) << header.error().message();
  const std::string message = header.error().message();
  EXPECT_EQ(message.substr(0, 2), "f:");
  EXPECT_EQ(message.find('\n'), std::string::npos);
}

#define ENTRY(name, dtype, shape, offsets) \
  "\"" name "\":{\"dtype\":" dtype ",\"shape\":" shape ",\"data_offsets\":" offsets "}"

INSTANTIATE_TEST_SUITE_P(
    All, HeaderRule,
    testing::Values(
        Broken{"empty", "", 0, Code::header_invalid},
        Broken{"not an object", "[]", 0, Code::header_invalid},
        Broken{"broken JSON", "{\"a\":", 0, Code::header_invalid},
        Broken{"text behind it", "{} x", 0, Code::header_invalid},
        Broken{"byte order mark", "\xEF\xBB\xBF{}", 0, Code::header_invalid},
        Broken{"not UTF-8", "{\"\xFF\":1}", 0, Code::header_invalid},
        Broken{"entry is a list", R"({"a":["F32",[1],[0,4]]})", 4, Code::header_invalid},
        Broken{"entry is null", R"({"a":null})", 0, Code::header_invalid},
        Broken{"no dtype", R"({"a":{"shape":[1],"data_offsets":[0,1]}})", 1, Code::header_invalid},
        Broken{"no shape", R"({"a":{"dtype":"U8","data_offsets":[0,1]}})", 1, Code::header_invalid},
        Broken{"no offsets", R"({"a":{"dtype":"U8","shape":[1]}})", 1, Code::header_invalid},
        Broken{"another field",
               R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"strides":[1]}})", 1,
               Code::header_invalid},
        Broken{"dtype is a number", "{" ENTRY("a", "8", "[1]", "[0,1]") "}", 1,
               Code::header_invalid},
        Broken{"dtype unknown", "{" ENTRY("a", "\"f32\"", "[1]", "[0,4]") "}", 4,
               Code::dtype_unsupported},
        Broken{"shape is a number", "{" ENTRY("a", "\"U8\"", "1", "[0,1]") "}", 1,
               Code::header_invalid},
        Broken{"size negative", "{" ENTRY("a", "\"U8\"", "[-1]", "[0,1]") "}", 1,
               Code::header_invalid},
        Broken{"size minus zero", "{" ENTRY("a", "\"U8\"", "[-0]", "[0,0]") "}", 0,
               Code::header_invalid},
        Broken{"size with fraction", "{" ENTRY("a", "\"U8\"", "[1.0]", "[0,1]") "}", 1,
               Code::header_invalid},
        Broken{"size with exponent", "{" ENTRY("a", "\"U8\"", "[1e0]", "[0,1]") "}", 1,
               Code::header_invalid},
        Broken{"size is text", "{" ENTRY("a", "\"U8\"", "[\"1\"]", "[0,1]") "}", 1,
               Code::header_invalid},
        Broken{"size of 2^64", "{" ENTRY("a", "\"U8\"", "[18446744073709551616]", "[0,0]") "}", 0,
               Code::header_invalid},
        Broken{"nine dimensions", "{" ENTRY("a", "\"U8\"", "[1,1,1,1,1,1,1,1,1]", "[0,1]") "}", 1,
               Code::header_invalid},
        Broken{"one offset", "{" ENTRY("a", "\"U8\"", "[1]", "[0]") "}", 1, Code::header_invalid},
        Broken{"three offsets", "{" ENTRY("a", "\"U8\"", "[1]", "[0,1,1]") "}", 1,
               Code::header_invalid},
        Broken{"offset negative", "{" ENTRY("a", "\"U8\"", "[1]", "[-1,0]") "}", 1,
               Code::header_invalid},
        Broken{"metadata is a list", R"({"__metadata__":[]})", 0, Code::header_invalid},
        Broken{"metadata holds a number", R"({"__metadata__":{"a":1}})", 0, Code::header_invalid},
        Broken{
            "tensor twice",
            "{" ENTRY("a", "\"U8\"", "[0]", "[0,0]") "," ENTRY("a", "\"U8\"", "[0]", "[0,0]") "}",
            0, Code::duplicate_key},
        Broken{"tensor twice by escape",
               "{" ENTRY("z", "\"U8\"", "[0]", "[0,0]") "," ENTRY("\\u007a", "\"U8\"", "[0]",
                                                                  "[0,0]") "}",
               0, Code::duplicate_key},
        Broken{"field twice",
               R"({"a":{"dtype":"U8","dtype":"U8","shape":[1],"data_offsets":[0,1]}})", 1,
               Code::duplicate_key},
        Broken{"metadata twice", R"({"__metadata__":{},"__metadata__":{}})", 0,
               Code::duplicate_key},
        Broken{"metadata key twice", R"({"__metadata__":{"a":"1","b":"","a":"1"}})", 0,
               Code::duplicate_key},
        Broken{"elements overflow",
               "{" ENTRY("a", "\"U8\"", "[4294967296,4294967296]", "[0,0]") "}", 0,
               Code::size_overflow},
        Broken{"elements overflow before a zero",
               "{" ENTRY("a", "\"U8\"", "[18446744073709551615,2,0]", "[0,0]") "}", 0,
               Code::size_overflow},
        Broken{"bits overflow", "{" ENTRY("a", "\"U8\"", "[2305843009213693953]", "[0,1]") "}", 1,
               Code::size_overflow},
        Broken{"part of a byte", "{" ENTRY("a", "\"F4\"", "[3]", "[0,2]") "}", 2,
               Code::size_mismatch},
        Broken{"bytes do not fit", "{" ENTRY("a", "\"F32\"", "[2]", "[0,4]") "}", 4,
               Code::size_mismatch},
        Broken{"reversed", "{" ENTRY("a", "\"U8\"", "[1]", "[1,0]") "}", 1, Code::offset_invalid},
        Broken{"past the end", "{" ENTRY("a", "\"U8\"", "[2]", "[0,2]") "}", 1,
               Code::offset_invalid},
        Broken{"far past the end",
               "{" ENTRY("a", "\"U8\"", "[1]", "[18446744073709551614,18446744073709551615]") "}",
               1, Code::offset_invalid},
        Broken{"hole at the start", "{" ENTRY("a", "\"U8\"", "[1]", "[1,2]") "}", 2,
               Code::offset_invalid},
        Broken{
            "hole between",
            "{" ENTRY("a", "\"U8\"", "[1]", "[0,1]") "," ENTRY("b", "\"U8\"", "[1]", "[2,3]") "}",
            3, Code::offset_invalid},
        Broken{
            "overlap",
            "{" ENTRY("a", "\"U8\"", "[2]", "[0,2]") "," ENTRY("b", "\"U8\"", "[2]", "[1,3]") "}",
            3, Code::offset_invalid},
        Broken{
            "same range",
            "{" ENTRY("a", "\"U8\"", "[2]", "[0,2]") "," ENTRY("b", "\"U8\"", "[2]", "[0,2]") "}",
            2, Code::offset_invalid},
        Broken{"bytes behind", "{" ENTRY("a", "\"U8\"", "[1]", "[0,1]") "}", 2,
               Code::offset_invalid},
        Broken{"bytes and no tensor", "{}", 1, Code::offset_invalid}));

TEST(HeaderLength, IsCheckedAgainstCapAndFile) {
  const auto length = [](std::uint64_t n, std::uint64_t file, std::size_t known = 8) {
    unsigned char bytes[8];
    std::memcpy(bytes, &n, 8);
    return header_length(std::span(bytes).first(known), file, "f");
  };
  ASSERT_TRUE(length(10, 18).ok());
  EXPECT_EQ(*length(10, 18), 10U);
  EXPECT_EQ(*length(0, 8), 0U);
  EXPECT_EQ(length(0, 7, 7).error().code, Code::header_too_small);
  EXPECT_EQ(length(0, 0, 0).error().code, Code::header_too_small);
  EXPECT_EQ(length(11, 18).error().code, Code::header_too_large);
  EXPECT_TRUE(length(kMaxHeaderBytes, std::uint64_t{1} << 40).ok());
  EXPECT_EQ(length(kMaxHeaderBytes + 1, std::uint64_t{1} << 40).error().code,
            Code::header_too_large);
  for (const std::uint64_t n : {std::uint64_t{1} << 32, std::uint64_t{1} << 63, ~std::uint64_t{0},
                                ~std::uint64_t{7}, (std::uint64_t{1} << 32) + 10})
    EXPECT_EQ(length(n, 18).error().code, Code::header_too_large) << n;
  EXPECT_EQ(parse_header("{}", 9, "f").error().code, Code::header_too_large);
}

TEST(Header, ErrorsShowNamesEscapedAndCut) {
  std::string name(1 << 20, 'n');
  name[0] = '<';
  const auto header =
      parse("{\"" + name + R"(":{"dtype":"F32","shape":[3],"data_offsets":[0,1]}})", 1);
  ASSERT_FALSE(header.ok());
  const std::string message = header.error().message();
  EXPECT_LT(message.size(), 400U);
  EXPECT_EQ(message.find('<'), std::string::npos);
}

std::string small_file() {
  return test::safetensors_file({{"a.weight", "F32", {2, 3}, std::string(24, 'a')},
                                 {"b", "BF16", {4}, std::string(8, 'b')},
                                 {"e", "F8_E4M3", {0, 7}, ""},
                                 {"s", "F64", {}, std::string(8, 's')}});
}

// What must hold of anything that was taken: sizes by 128-bit arithmetic, and a cover of the file.
void expect_sound(const Header& header, std::uint64_t file_bytes) {
  std::uint64_t end = 0;
  for (const TensorInfo& tensor : header.tensors()) {
    Uint128 bits = bits_of(tensor.dtype);
    for (const std::uint64_t size : tensor.shape) bits *= size;
    ASSERT_EQ(bits % 8, 0U);
    ASSERT_EQ(static_cast<std::uint64_t>(bits / 8), tensor.bytes);
    ASSERT_TRUE(end == 0 || tensor.begin == end);
    end = tensor.begin + tensor.bytes;
    ASSERT_LE(end, file_bytes);
    ASSERT_EQ(header.find(tensor.name), &tensor);
  }
  ASSERT_TRUE(end == 0 || end == file_bytes);
}

TEST(Header, EveryTruncationIsRefused) {
  const std::string whole = small_file();
  ASSERT_TRUE(parse_file(whole).ok());
  for (std::size_t length = 0; length < whole.size(); ++length)
    EXPECT_FALSE(parse_file(whole.substr(0, length)).ok()) << length;
}

TEST(Header, EveryBitFlipIsRefusedOrSound) {
  const std::string whole = small_file();
  std::uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, whole.data(), 8);
  int taken = 0;
  for (std::size_t bit = 0; bit < (8 + header_bytes) * 8; ++bit) {
    std::string flipped = whole;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << (bit % 8)));
    const auto header = parse_file(flipped);
    if (!header.ok()) continue;
    ++taken;
    expect_sound(*header, flipped.size());
  }
  EXPECT_GT(taken, 0);  // other letters in a name, and other types of the same width
}

TEST(Header, SizesAreExact) {
  constexpr std::uint64_t kLimit = ~std::uint64_t{0};
  EXPECT_TRUE(rc::check("taken if and only if 128-bit arithmetic says so", [] {
    const auto rank = *rc::gen::inRange<std::size_t>(0, 5);
    // Sizes around the powers of two where products wrap.
    const auto sizes = *rc::gen::container<std::vector<std::uint64_t>>(
        rank, rc::gen::apply(
                  [](int shift, int delta) {
                    return (std::uint64_t{1} << shift) + static_cast<std::uint64_t>(delta);
                  },
                  rc::gen::inRange(0, 64), rc::gen::inRange(-1, 2)));
    const char* dtype = *rc::gen::element("U8", "BF16", "F32", "F64", "F4", "F6_E2M3");
    const unsigned width = bits_of(*dtype_from_name(dtype));
    bool fits = true;
    Uint128 bits = 1;
    for (const std::uint64_t size : sizes) {
      bits *= size;  // at most 2^64 each time
      fits = fits && bits <= kLimit;
      if (!fits) break;
    }
    bits *= width;
    fits = fits && bits <= kLimit && bits % 8 == 0;
    const auto bytes = static_cast<std::uint64_t>(bits / 8);  // wrapped where it does not fit
    const std::string json = "{\"a\":{\"dtype\":\"" + std::string(dtype) + "\",\"shape\":[" +
                             [&] {
                               std::string text = shape_text(sizes);
                               return text.substr(1, text.size() - 2);
                             }() +
                             "],\"data_offsets\":[0," + std::to_string(bytes) + "]}}";
    const std::uint64_t room = kLimit - 8 - json.size();
    const auto header = parse_header(json, 8 + json.size() + std::min(bytes, room), "f");
    RC_ASSERT(header.ok() == (fits && bytes <= room));
  }));
}

TEST(Header, HoldsAHundredThousandTensors) {
  std::vector<StoredTensor> tensors;
  for (int i = 0; i < 100'000; ++i) tensors.push_back({"t." + std::to_string(i), "U8", {1}, "x"});
  const auto header = parse(tensors);
  ASSERT_TRUE(header.ok()) << header.error().message();
  ASSERT_EQ(header->tensors().size(), tensors.size());
  for (const int i : {0, 1, 50'000, 99'999})
    EXPECT_EQ(header->find("t." + std::to_string(i)),
              &header->tensors()[static_cast<std::size_t>(i)]);
  EXPECT_EQ(header->find("t.100000"), nullptr);
}

TEST(Dtype, NamesAndWidths) {
  const std::vector<std::pair<const char*, unsigned>> all = {
      {"BOOL", 8},    {"U8", 8},          {"I8", 8},          {"F8_E5M2", 8}, {"F8_E4M3", 8},
      {"F8_E8M0", 8}, {"F8_E4M3FNUZ", 8}, {"F8_E5M2FNUZ", 8}, {"F4", 4},      {"F6_E2M3", 6},
      {"F6_E3M2", 6}, {"I16", 16},        {"U16", 16},        {"F16", 16},    {"BF16", 16},
      {"I32", 32},    {"U32", 32},        {"F32", 32},        {"I64", 64},    {"U64", 64},
      {"F64", 64},    {"C64", 64}};
  for (const auto& [name, bits] : all) {
    const auto dtype = dtype_from_name(name);
    ASSERT_TRUE(dtype.has_value()) << name;
    EXPECT_STREQ(name_of(*dtype), name);
    EXPECT_EQ(bits_of(*dtype), bits) << name;
  }
  EXPECT_FALSE(dtype_from_name("bf16").has_value());
  EXPECT_FALSE(dtype_from_name("F32 ").has_value());
}

}  // namespace
}  // namespace ullage::checkpoint
