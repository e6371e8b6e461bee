// Rows of weight matrices as numbers: every type, both layouts, scales, and ranges that cross every
// internal boundary, against values computed from the codes by definition.
#include "ullage/checkpoint/weights.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "support/safetensors_builder.h"

namespace ullage::checkpoint {
namespace {

using test::StoredTensor;
using test::TempFolder;

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

// One stored type by its definition: how many bytes, and what a code means.
struct Type {
  const char* name;
  std::size_t bytes;
  std::function<double(std::uint64_t)> value;
};

// Sign, exponent, mantissa as IEEE 754 lays them out; `special` takes the codes that are no numbers.
double by_fields(std::uint64_t code, int exponent_bits, int mantissa_bits, int bias) {
  const std::uint64_t mantissa = code & ((std::uint64_t{1} << mantissa_bits) - 1);
  const std::uint64_t exponent = code >> mantissa_bits & ((std::uint64_t{1} << exponent_bits) - 1);
  const bool negative = (code >> (exponent_bits + mantissa_bits) & 1) != 0;
  const auto m = static_cast<double>(mantissa);
  const double magnitude = exponent == 0
                               ? std::ldexp(m, 1 - bias - mantissa_bits)
                               : std::ldexp(std::ldexp(1.0, mantissa_bits) + m,
                                            static_cast<int>(exponent) - bias - mantissa_bits);
  return negative ? -magnitude : magnitude;
}

double ieee(std::uint64_t code, int exponent_bits, int mantissa_bits) {
  const std::uint64_t top = (std::uint64_t{1} << exponent_bits) - 1;
  if ((code >> mantissa_bits & top) == top) {
    if ((code & ((std::uint64_t{1} << mantissa_bits) - 1)) != 0) return kNan;
    return (code >> (exponent_bits + mantissa_bits)) != 0 ? -kInfinity : kInfinity;
  }
  return by_fields(code, exponent_bits, mantissa_bits, static_cast<int>(top >> 1));
}

const std::vector<Type>& types() {
  static const std::vector<Type> all = {
      {"F64", 8, [](std::uint64_t c) { return std::bit_cast<double>(c); }},
      {"F32", 4,
       [](std::uint64_t c) {
         return static_cast<double>(std::bit_cast<float>(static_cast<std::uint32_t>(c)));
       }},
      {"F16", 2, [](std::uint64_t c) { return ieee(c, 5, 10); }},
      {"BF16", 2, [](std::uint64_t c) { return ieee(c, 8, 7); }},
      {"F8_E5M2", 1, [](std::uint64_t c) { return ieee(c, 5, 2); }},
      {"F8_E4M3", 1,
       [](std::uint64_t c) { return (c & 0x7F) == 0x7F ? kNan : by_fields(c, 4, 3, 7); }},
      {"F8_E4M3FNUZ", 1, [](std::uint64_t c) { return c == 0x80 ? kNan : by_fields(c, 4, 3, 8); }},
      {"F8_E5M2FNUZ", 1, [](std::uint64_t c) { return c == 0x80 ? kNan : by_fields(c, 5, 2, 16); }},
      {"F8_E8M0", 1,
       [](std::uint64_t c) {
         return c == 0xFF ? kNan : std::ldexp(1.0, static_cast<int>(c) - 127);
       }},
  };
  return all;
}

const Type& type_named(const std::string& name) {
  for (const Type& type : types())
    if (name == type.name) return type;
  return types().front();
}

// A tensor of random codes (all of them: NaN, infinities and subnormals too) and what they mean.
struct Made {
  StoredTensor stored;
  std::vector<double> values;
};

Made make(const std::string& name, const Type& type, const std::vector<std::uint64_t>& shape,
          unsigned seed) {
  std::mt19937_64 random(seed);
  std::uint64_t count = 1;
  for (const std::uint64_t size : shape) count *= size;
  Made made{{name, type.name, shape, std::string(count * type.bytes, '\0')}, {}};
  for (std::uint64_t i = 0; i < count; ++i) {
    std::uint64_t code = random();
    if (type.bytes < 8) code &= (std::uint64_t{1} << (8 * type.bytes)) - 1;
    std::memcpy(made.stored.bytes.data() + i * type.bytes, &code, type.bytes);
    made.values.push_back(type.value(code));
  }
  return made;
}

// A checkpoint of these tensors, opened.
class Opened {
 public:
  explicit Opened(const std::vector<StoredTensor>& tensors) {
    folder_.write("model.safetensors", test::safetensors_file(tensors));
    auto location = locate(folder_.string());
    EXPECT_TRUE(location.ok());
    auto store = TensorStore::open(*location);
    EXPECT_TRUE(store.ok()) << store.error().message();
    store_.emplace(std::move(store).value());
  }
  const TensorStore& operator*() const { return *store_; }
  const TensorStore* operator->() const { return &*store_; }

 private:
  TempFolder folder_;
  std::optional<TensorStore> store_;
};

// Rounded to Number, the same bits but for a NaN's.
template <class Number>
bool same(Number found, double expected) {
  const auto rounded = static_cast<Number>(expected);
  if (std::isnan(rounded)) return std::isnan(found);
  return found == rounded && std::signbit(found) == std::signbit(rounded);
}

// Reads rows [first, first + count) and compares each number; what lies between the rows must stay.
template <class Number, class Expected>
void expect_rows(const WeightMatrix& matrix, std::uint64_t first, std::uint64_t count,
                 std::uint64_t gap, const Expected& expected) {
  const std::uint64_t stride = matrix.inputs() + gap;
  constexpr Number kUntouched = 12345;
  std::vector<Number> out(count * stride, kUntouched);
  const Status status = matrix.read(first, count, std::span(out), stride);
  ASSERT_TRUE(status.ok()) << status.error().message();
  for (std::uint64_t i = 0; i < count; ++i) {
    for (std::uint64_t j = 0; j < matrix.inputs(); ++j)
      ASSERT_TRUE(same(out[i * stride + j], expected(first + i, j))) << first + i << ',' << j;
    for (std::uint64_t j = matrix.inputs(); j < stride; ++j)
      ASSERT_EQ(out[i * stride + j], kUntouched);
  }
}

struct Size {
  std::uint64_t outputs, inputs;
};
// Around one, a panel of 8 stored rows, a tile of 256 columns, and 64 KiB buffers of every type.
constexpr Size kSizes[] = {{1, 1}, {3, 5}, {9, 17}, {40, 300}, {3, 40'000}, {9'000, 3}};

TEST(WeightMatrix, ReadsEveryTypeInBothLayouts) {
  for (const Type& type : types()) {
    for (const Size& size : kSizes) {
      for (const Layout layout : {Layout::out_in, Layout::in_out}) {
        const bool plain = layout == Layout::out_in;
        const std::uint64_t rows = plain ? size.outputs : size.inputs;
        const std::uint64_t columns = plain ? size.inputs : size.outputs;
        const Made made = make("w", type, {rows, columns}, 1);
        const Opened store({{"odd", "U8", {1}, "x"}, made.stored});
        const auto matrix = WeightMatrix::open(*store, *store->find("w"), {.layout = layout});
        ASSERT_TRUE(matrix.ok()) << matrix.error().message();
        ASSERT_EQ(matrix->outputs(), size.outputs);
        ASSERT_EQ(matrix->inputs(), size.inputs);
        const auto expected = [&](std::uint64_t out, std::uint64_t in) {
          return made.values[plain ? out * columns + in : in * columns + out];
        };
        SCOPED_TRACE(std::string(type.name) + " " + std::to_string(size.outputs) + "x" +
                     std::to_string(size.inputs) + (plain ? "" : " transposed"));
        const std::uint64_t first = size.outputs / 3,
                            count = size.outputs - first - size.outputs / 5;
        ASSERT_NO_FATAL_FAILURE(expect_rows<double>(*matrix, first, count, 0, expected));
        ASSERT_NO_FATAL_FAILURE(expect_rows<float>(*matrix, 0, size.outputs, 3, expected));
        ASSERT_NO_FATAL_FAILURE(expect_rows<float>(*matrix, size.outputs - 1, 1, 0, expected));
      }
    }
  }
}

TEST(WeightMatrix, GivesTheBitsOfBf16) {
  const Made made = make("w", type_named("BF16"), {20, 33}, 2);
  std::vector<std::uint16_t> codes(made.values.size());
  std::memcpy(codes.data(), made.stored.bytes.data(), made.stored.bytes.size());
  const Opened store({made.stored, test::f32_tensor("f", {1, 1}, {1})});
  const auto plain = WeightMatrix::open(*store, *store->find("w"));
  const auto turned = WeightMatrix::open(*store, *store->find("w"), {.layout = Layout::in_out});
  ASSERT_TRUE(plain.ok() && turned.ok());
  std::vector<std::uint16_t> out(20 * 40), columns(20 * 33);
  ASSERT_TRUE(plain->read_bf16(0, 20, out, 40).ok());
  ASSERT_TRUE(turned->read_bf16(0, 33, columns).ok());
  for (std::size_t i = 0; i < 20; ++i)
    for (std::size_t j = 0; j < 33; ++j) {
      ASSERT_EQ(out[i * 40 + j], codes[i * 33 + j]);
      ASSERT_EQ(columns[j * 20 + i], codes[i * 33 + j]);
    }
  const auto other = WeightMatrix::open(*store, *store->find("f"));
  EXPECT_FALSE(other->stored_bf16());
  EXPECT_EQ(other->read_bf16(0, 1, out).error().code, Code::dtype_unsupported);
}

struct ScaleCase {
  const char* suffix;
  const char* dtype;
  std::vector<std::uint64_t> shape;  // of the scale tensor, for a weight of 150 x 300
  std::uint64_t block_rows, block_columns;
};

TEST(WeightMatrix, MultipliesFp8ByItsScale) {
  constexpr std::uint64_t kRows = 150, kColumns = 300;
  const std::vector<ScaleCase> cases = {
      {"_scale_inv", "F32", {2, 3}, 128, 128},
      {"_scale_inv", "BF16", {2, 3}, 128, 128},
      {"_scale_inv", "F8_E8M0", {10, 38}, 16, 8},
      {"_scale_inv", "F32", {150, 300}, 1, 1},
      {"_scale", "F32", {}, 150, 300},
      {"_scale", "BF16", {1}, 150, 300},
      {"_scale", "F64", {1, 1}, 150, 300},
      {"_scale", "F32", {150, 1}, 1, 300},
      {"_scale", "F32", {150}, 1, 300},
  };
  for (const char* dtype : {"F8_E4M3", "F8_E5M2", "F8_E4M3FNUZ", "F8_E5M2FNUZ"}) {
    for (const ScaleCase& c : cases) {
      for (const Layout layout : {Layout::out_in, Layout::in_out}) {
        SCOPED_TRACE(std::string(dtype) + c.suffix + " " + c.dtype + " " + shape_text(c.shape));
        const Made weight = make("w.weight", type_named(dtype), {kRows, kColumns}, 3);
        const Made scale =
            make(std::string("w.weight") + c.suffix, type_named(c.dtype), c.shape, 4);
        const Opened store({weight.stored, scale.stored});
        const bool blocks = c.suffix == std::string("_scale_inv");
        const auto matrix = WeightMatrix::open(*store, *store->find("w.weight"),
                                               {.layout = layout,
                                                .block_rows = blocks ? c.block_rows : 128,
                                                .block_columns = blocks ? c.block_columns : 128});
        ASSERT_TRUE(matrix.ok()) << matrix.error().message();
        EXPECT_EQ(matrix->scale(), store->find(std::string("w.weight") + c.suffix));
        const std::uint64_t scale_columns = (kColumns + c.block_columns - 1) / c.block_columns;
        const auto expected = [&](std::uint64_t out, std::uint64_t in) {
          const std::uint64_t row = layout == Layout::out_in ? out : in;
          const std::uint64_t column = layout == Layout::out_in ? in : out;
          return weight.values[row * kColumns + column] *
                 scale.values[row / c.block_rows * scale_columns + column / c.block_columns];
        };
        ASSERT_NO_FATAL_FAILURE(expect_rows<double>(*matrix, 0, matrix->outputs(), 0, expected));
        ASSERT_NO_FATAL_FAILURE(expect_rows<float>(*matrix, 120, 20, 1, expected));
      }
    }
  }
}

TEST(WeightMatrix, AnFp8WeightWithoutScaleIsWhatItsCodesSay) {
  const Made made = make("w", type_named("F8_E4M3"), {4, 4}, 5);
  const Opened store({made.stored});
  const auto matrix = WeightMatrix::open(*store, *store->find("w"));
  ASSERT_TRUE(matrix.ok());
  expect_rows<double>(*matrix, 0, 4, 0, [&](auto i, auto j) { return made.values[i * 4 + j]; });
}

TEST(WeightMatrix, OnlyFp8IsScaled) {
  const Opened store(
      {test::f32_tensor("w", {1, 2}, {2, 3}), test::f32_tensor("w_scale", {1}, {10})});
  const auto matrix = WeightMatrix::open(*store, *store->find("w"));
  ASSERT_TRUE(matrix.ok());
  expect_rows<float>(*matrix, 0, 1, 0, [](auto, auto j) { return j == 0 ? 2.0 : 3.0; });
}

Error open_error(const TensorStore& store, const std::string& name,
                 const WeightOptions& options = {}) {
  const auto matrix = WeightMatrix::open(store, *store.find(name), options);
  EXPECT_FALSE(matrix.ok());
  return matrix.ok() ? Error{} : matrix.error();
}

TEST(WeightMatrix, RefusesWhatHoldsNoWeights) {
  const Opened store({{"integers", "I8", {2, 2}, "1234"},
                      {"packed", "F4", {2, 2}, "12"},
                      {"boolean", "BOOL", {2, 2}, "1234"},
                      {"complex", "C64", {1, 1}, "12345678"},
                      test::f32_tensor("vector", {4}, {1, 2, 3, 4}),
                      test::f32_tensor("cube", {1, 2, 2}, {1, 2, 3, 4}),
                      test::f32_tensor("matrix", {2, 2}, {1, 2, 3, 4})});
  for (const char* name : {"integers", "packed", "boolean", "complex"}) {
    EXPECT_EQ(open_error(*store, name).code, Code::dtype_unsupported) << name;
    EXPECT_EQ(open_error(*store, name).where, std::string("model.safetensors: ") + name);
    std::vector<double> out(1);
    EXPECT_EQ(read_elements(*store, *store->find(name), 0, out).error().code,
              Code::dtype_unsupported);
  }
  EXPECT_EQ(open_error(*store, "vector").code, Code::size_mismatch);
  EXPECT_EQ(open_error(*store, "cube").code, Code::size_mismatch);
  EXPECT_EQ(open_error(*store, "matrix", {.block_rows = 0}).code, Code::value_invalid);
}

TEST(WeightMatrix, AScaleMustFitItsWeight) {
  const auto error_with = [](const std::vector<StoredTensor>& scales) {
    std::vector<StoredTensor> tensors = {make("w", type_named("F8_E4M3"), {32, 32}, 6).stored};
    tensors.insert(tensors.end(), scales.begin(), scales.end());
    const Opened store(tensors);
    return open_error(*store, "w");
  };
  const Error shape =
      error_with({test::f32_tensor("w_scale_inv", {3, 7}, std::vector<float>(21, 1))});
  EXPECT_EQ(shape.code, Code::size_mismatch);
  EXPECT_EQ(shape.where, "model.safetensors: w_scale_inv");
  EXPECT_EQ(shape.found, "[3, 7]");
  EXPECT_EQ(error_with({test::f32_tensor("w_scale_inv", {0, 0}, {})}).code, Code::size_mismatch);
  const Error nan = error_with({test::f32_tensor("w_scale", {2}, {1, std::nanf("")})});
  EXPECT_NE(nan.what.find("NaN"), std::string::npos);
  EXPECT_EQ(error_with({{"w_scale", "I32", {1}, "1234"}}).code, Code::dtype_unsupported);
  EXPECT_EQ(
      error_with({test::f32_tensor("w_scale", {1}, {1}), test::f32_tensor("w_scale_inv", {1}, {1})})
          .code,
      Code::size_mismatch);
}

TEST(WeightMatrix, ReadsNoRowsBeyondItsOwn) {
  const Opened store({test::f32_tensor("w", {4, 3}, std::vector<float>(12, 1)),
                      test::f32_tensor("empty", {0, 3}, {})});
  for (const Layout layout : {Layout::out_in, Layout::in_out}) {
    const auto matrix = WeightMatrix::open(*store, *store->find("w"), {.layout = layout});
    std::vector<float> out(12);
    const std::uint64_t rows = matrix->outputs();
    EXPECT_TRUE(matrix->read(0, rows, std::span(out)).ok());
    EXPECT_TRUE(matrix->read(rows, 0, std::span(out)).ok());
    EXPECT_EQ(matrix->read(0, rows + 1, std::span(out)).error().code, Code::value_invalid);
    EXPECT_EQ(matrix->read(rows, 1, std::span(out)).error().code, Code::value_invalid);
    EXPECT_EQ(matrix->read(~std::uint64_t{0}, 2, std::span(out)).error().code, Code::value_invalid);
    EXPECT_EQ(matrix->read(0, rows, std::span(out).first(11)).error().code, Code::value_invalid);
    EXPECT_EQ(matrix->read(0, 2, std::span(out), 1).error().code, Code::value_invalid);
    EXPECT_EQ(matrix->read(0, 2, std::span(out), ~std::uint64_t{0}).error().code,
              Code::value_invalid);
  }
  const auto empty = WeightMatrix::open(*store, *store->find("empty"));
  ASSERT_TRUE(empty.ok());
  EXPECT_TRUE(empty->read(0, 0, std::span<float>()).ok());
}

TEST(ReadElements, DecodesAnyRankAndRange) {
  for (const Type& type : types()) {
    const Made made = make("v", type, {3, 7, 1001}, 7);
    const Opened store({made.stored});
    const TensorInfo& tensor = *store->find("v");
    std::vector<double> all(made.values.size());
    ASSERT_TRUE(read_elements(*store, tensor, 0, std::span(all)).ok());
    for (std::size_t i = 0; i < all.size(); ++i)
      ASSERT_TRUE(same(all[i], made.values[i])) << type.name;
    std::vector<float> some(9'000);
    ASSERT_TRUE(read_elements(*store, tensor, 5, std::span(some)).ok());
    for (std::size_t i = 0; i < some.size(); ++i)
      ASSERT_TRUE(same(some[i], made.values[5 + i])) << type.name;
    EXPECT_EQ(read_elements(*store, tensor, 1, std::span(all)).error().code, Code::value_invalid);
    EXPECT_EQ(read_elements(*store, tensor, ~std::uint64_t{0}, std::span(some)).error().code,
              Code::value_invalid);
  }
}

}  // namespace
}  // namespace ullage::checkpoint
