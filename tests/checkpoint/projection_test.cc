// Heads read out of every layout: the numbers are those that were put in, as float and double, transposed or
// scaled FP8, from several threads.
#include "ullage/checkpoint/projection.h"

#include <gtest/gtest.h>

#include <array>

#include "checkpoint/made_model.h"
#include "ullage/base/parallel.h"

namespace ullage::checkpoint {
namespace {

using test::Made;
using test::read_made;
using test::Tensors;

// Entry (row, column) of part q (0), k (1), v (2). Exact in BF16 for 16 x 16 entries a part.
float mark(int part, int row, int column, int width = 16) {
  constexpr float kParts[] = {1, -1, 1024};
  return kParts[part] * static_cast<float>(row * width + column);
}

// [3 rows, width] of q, k, v blocks, transposed or not.
std::vector<float> blocks(int rows, int width, bool transposed) {
  std::vector<float> values(static_cast<std::size_t>(3) * rows * width);
  for (int part = 0; part < 3; ++part)
    for (int r = 0; r < rows; ++r)
      for (int c = 0; c < width; ++c) {
        const int row = part * rows + r;
        values[transposed ? c * 3 * rows + row : row * width + c] = mark(part, r, c, width);
      }
  return values;
}

Made gpt2(int width, int heads, bool transposed, bool bf16) {
  Tensors tensors;
  const std::uint64_t n = static_cast<std::uint64_t>(width);
  const std::vector<float> values = blocks(width, width, transposed);
  std::vector<std::uint64_t> shape = {3 * n, n};
  if (transposed) shape = {n, 3 * n};
  const std::string name = "h.0.attn.c_attn.weight";
  if (bf16)
    tensors.add(ullage::test::bf16_tensor(name, shape, values));
  else
    tensors.add(name, shape, values);
  tensors.add("h.0.ln_1.weight", {n});
  // gpt2 stores [in, out]; gpt_bigcode the same names as a Linear.
  return read_made("{\"model_type\": \"" + std::string(transposed ? "gpt2" : "newgpt") +
                       "\", \"n_embd\": " + std::to_string(width) +
                       ", \"n_head\": " + std::to_string(heads) + "}",
                   tensors);
}

TEST(ReadHead, EveryHeadOfEveryLayout) {
  constexpr int kWidth = 16, kHeads = 4, kSize = kWidth / kHeads;
  for (const bool transposed : {true, false})
    for (const bool bf16 : {true, false}) {
      const Made made = gpt2(kWidth, kHeads, transposed, bf16);
      ASSERT_EQ(made.problem(), "");
      const AttentionLayer& layer = made.layer();
      const std::array<const Projection*, 3> parts = {&layer.query, &layer.key, &layer.value};
      for (int part = 0; part < 3; ++part)
        for (int head = 0; head < kHeads; ++head) {
          const Projection& projection = *parts[part];
          std::vector<float> out(elements_of(projection));
          std::vector<double> wide(out.size());
          ASSERT_TRUE(read_head(*made.store, projection, head, std::span<float>(out)).ok());
          ASSERT_TRUE(read_head(*made.store, projection, head, std::span<double>(wide)).ok());
          for (int r = 0; r < kSize; ++r)
            for (int c = 0; c < kWidth; ++c) {
              const std::size_t at = std::size_t(r) * kWidth + c;
              const float expected = mark(part, head * kSize + r, c);
              ASSERT_EQ(out[at], expected);
              ASSERT_EQ(wide[at], expected);
            }
        }
    }
}

// Codegen's slabs are [q | v | k] of a quarter of the heads: no two heads of different slabs are neighbours.
TEST(ReadHead, HeadsThatLieApart) {
  constexpr int kHeads = 8, kSize = 2, kWidth = 16;
  std::vector<float> values(3 * 16 * 16);
  for (int head = 0; head < kHeads; ++head)
    for (int part = 0; part < 3; ++part)
      for (int r = 0; r < kSize; ++r)
        for (int c = 0; c < kWidth; ++c) {
          const int in_slab = part == 0 ? 0 : part == 1 ? 2 : 1;  // q, v, k
          const int row = (head / 2) * 12 + in_slab * 4 + (head % 2) * kSize + r;
          values[static_cast<std::size_t>(row) * kWidth + c] = mark(part, head * kSize + r, c);
        }
  Tensors tensors;
  tensors.add("h.0.attn.qkv_proj.weight", {48, 16}, values).add("h.0.ln_1.weight", {16});
  const Made made = read_made(
      R"({"model_type": "codegen", "n_embd": 16, "n_head": 8, "rotary_dim": 2})", tensors);
  ASSERT_EQ(made.problem(), "");
  const std::array<const Projection*, 3> parts = {&made.layer().query, &made.layer().key,
                                                  &made.layer().value};
  for (int part = 0; part < 3; ++part) {
    for (int head = 0; head < kHeads; ++head) {
      std::vector<float> out(elements_of(*parts[part]));
      ASSERT_TRUE(read_head(*made.store, *parts[part], head, std::span<float>(out)).ok());
      for (int r = 0; r < kSize; ++r)
        for (int c = 0; c < kWidth; ++c)
          ASSERT_EQ(out[static_cast<std::size_t>(r) * kWidth + c], mark(part, head * kSize + r, c));
    }
  }
}

TEST(ReadHead, Fp8IsMultipliedByItsScale) {
  Tensors tensors = test::llama_tensors(1);
  const std::string name = "model.layers.0.self_attn.q_proj.weight";
  tensors
      .add({name, "F8_E4M3", {16, 16}, std::string(256, '\x38')})  // 1.0
      .add(name + "_scale_inv", {1, 1}, std::vector<float>{0.25f});
  const Made made = read_made(
      R"({"model_type": "llama", "hidden_size": 16, "num_attention_heads": 4, "num_key_value_heads": 2})",
      tensors);
  ASSERT_EQ(made.problem(), "");
  std::vector<double> out(elements_of(made.layer().query));
  ASSERT_TRUE(read_head(*made.store, made.layer().query, 3, std::span<double>(out)).ok());
  EXPECT_EQ(out, std::vector<double>(64, 0.25));
}

TEST(ReadHead, RefusesOtherHeadsAndOtherSizes) {
  const Made made = gpt2(16, 4, true, false);
  const Projection& query = made.layer().query;
  std::vector<float> out(elements_of(query));
  EXPECT_EQ(out.size(), 64u);
  for (const int head : {-1, 4})
    EXPECT_EQ(read_head(*made.store, query, head, std::span<float>(out)).error().code,
              Code::value_invalid);
  out.pop_back();
  EXPECT_EQ(read_head(*made.store, query, 0, std::span<float>(out)).error().code,
            Code::value_invalid);
}

TEST(ReadHead, SeveralThreadsReadAtOnce) {
  constexpr int kWidth = 64, kHeads = 16;
  const Made made = gpt2(kWidth, kHeads, true, false);
  ASSERT_EQ(made.problem(), "");
  std::vector<std::vector<float>> heads(kHeads);
  parallel_for(kHeads, 4, [&](std::size_t head, int) {
    heads[head].resize(elements_of(made.layer().key));
    const Status status = read_head(*made.store, made.layer().key, static_cast<int>(head),
                                    std::span<float>(heads[head]));
    EXPECT_TRUE(status.ok());
  });
  for (int head = 0; head < kHeads; ++head)
    for (int r = 0; r < 4; ++r)
      for (int c = 0; c < kWidth; ++c)
        ASSERT_EQ(heads[head][std::size_t(r) * kWidth + c], mark(1, head * 4 + r, c, kWidth));
}

}  // namespace
}  // namespace ullage::checkpoint
