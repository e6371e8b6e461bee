// Every row of the table, written as a checkpoint and read back: each head's rows, biases and gains must be
// those that were written for it, whatever the layout. The writer lays heads out by loops of its own.
#include <gtest/gtest.h>

#include <set>

#include "checkpoint/architectures.h"
#include "checkpoint/made_model.h"
#include "ullage/checkpoint/projection.h"

namespace ullage::checkpoint {
namespace {

using test::Made;
using test::read_made;
using test::Tensors;

constexpr int kHeads = 8, kKv = 2, kSize = 4, kWidth = 32, kDepth = 3;

std::vector<std::string> split(std::string_view text) {
  std::vector<std::string> parts;
  while (!text.empty()) {
    const std::size_t bar = text.find('|');
    parts.emplace_back(text.substr(0, bar));
    if (bar == std::string_view::npos) break;
    text.remove_prefix(bar + 1);
  }
  return parts;
}

std::vector<const Row*> every_row() {
  std::vector<const Row*> rows;
  for (const auto table : {decoder_rows(), fused_decoder_rows(), encoder_rows(),
                           encoder_decoder_rows(), vision_rows()})
    for (const Row& row : table) rows.push_back(&row);
  return rows;
}

// ---- the table as data

TEST(ArchitectureTable, RowsAreWellFormed) {
  std::set<std::string> seen;
  for (const Row* row : every_row()) {
    const std::string type = std::string(row->types) + " " + std::string(row->stack);
    SCOPED_TRACE(type);
    EXPECT_NE(row->stem.find("{i}"), std::string_view::npos);
    EXPECT_EQ(row->stem.find("{j}") != std::string_view::npos, row->shared);
    EXPECT_TRUE(row->stem.ends_with('.'));
    EXPECT_EQ(row->fused.empty(), row->layout == Fused::separate);
    EXPECT_EQ(row->cross, row->stack == "decoder.cross");
    EXPECT_TRUE(row->stack == "self" || row->stack == "encoder.self" ||
                row->stack == "decoder.self" || row->stack == "decoder.cross");
    EXPECT_TRUE(!row->cross || !row->causal);
    EXPECT_TRUE(row->no_rope == NoRope::never || row->rope != RopePairing::none);
    for (const std::string& name : split(row->types)) {
      EXPECT_EQ(canonical_type(name), name);
      const std::string key =
          name + "/" + std::string(row->stack) + "/" + std::string(row->stem) +
          (row->fused.empty() ? std::string(row->query) : std::string(row->fused)) + "/" +
          std::string(row->when.key) + (row->when.value ? "1" : "0");
      EXPECT_TRUE(seen.insert(key).second) << key;
    }
  }
}

TEST(ArchitectureTable, NamesAgreeAcrossTables) {
  std::set<std::string> types;
  for (const Row* row : every_row())
    for (const std::string& type : split(row->types)) types.insert(type);
  EXPECT_GE(types.size(), 95u);
  for (const std::string& type : types) {
    const ClassDefaults& defaults = class_defaults(type);
    EXPECT_TRUE(defaults.type.empty() || defaults.type == type);
    if (defaults.heads > 0 && defaults.kv_heads > 0) {
      EXPECT_EQ(defaults.heads % defaults.kv_heads, 0) << type;
    }
    EXPECT_FALSE(without_attention(type));
    EXPECT_FALSE(rows_for(type).empty());
  }
  for (const char* type :
       {"clip", "siglip", "gemma3", "paligemma", "llava", "mistral3", "qwen2_vl", "qwen2_5_vl",
        "qwen3_vl", "qwen3_5", "llama4", "idefics3", "internvl", "mllama"}) {
    const Wrapper* wrapper = find_wrapper(type);
    ASSERT_NE(wrapper, nullptr) << type;
    EXPECT_FALSE(rows_for(wrapper->text).empty()) << type;
    EXPECT_FALSE(rows_for(wrapper->vision).empty()) << type;
  }
  for (const char* alias : {"qwen2_vl_text", "qwen2_5_vl_text", "qwen3_vl_text", "qwen3_5_text",
                            "RefinedWeb", "RefinedWebModel"}) {
    EXPECT_NE(canonical_type(alias), alias);
    EXPECT_FALSE(rows_for(alias).empty()) << alias;
  }
  EXPECT_TRUE(has_type("a|bc|d", "bc"));
  EXPECT_FALSE(has_type("a|bc|d", "b"));
  EXPECT_FALSE(has_type("a|bc|d", ""));
}

TEST(ArchitectureTable, DefaultsParse) {
  for (const Row* row : every_row())
    for (const std::string& type : split(row->types)) {
      const ClassDefaults& defaults = class_defaults(type);
      if (!defaults.rope_parameters.empty()) {
        EXPECT_TRUE(Config::parse(std::string(defaults.rope_parameters), "defaults").ok()) << type;
      }
    }
}

// ---- the table as checkpoints

enum Part { kQuery, kKey, kValue };

// Number of entry (row of a head, column) of a head of a part, and of its bias (column -1); layers differ
// by multiples of 1e6.
float mark(int layer, Part part, int head, int row, int column) {
  return static_cast<float>(layer * 1'000'000 + part * 200'000 + head * 5'000 + row * 100 + column +
                            2);
}

// Rows of a fused or single matrix in their order, as (part, head, row); part -1: another use.
struct Line {
  int part, head, row;
};

void push_head(std::vector<Line>& lines, Part part, int head) {
  for (int row = 0; row < kSize; ++row) lines.push_back({part, head, row});
}

std::vector<Line> fused_lines(Fused layout, int kv) {
  std::vector<Line> lines;
  switch (layout) {
    case Fused::separate:
      break;
    case Fused::blocks:
      for (int h = 0; h < kHeads; ++h) push_head(lines, kQuery, h);
      for (int g = 0; g < kv; ++g) push_head(lines, kKey, g);
      for (int g = 0; g < kv; ++g) push_head(lines, kValue, g);
      break;
    case Fused::per_group:
      for (int g = 0; g < kv; ++g) {
        for (int h = 0; h < kHeads; ++h)
          if (h / (kHeads / kv) == g) push_head(lines, kQuery, h);
        push_head(lines, kKey, g);
        push_head(lines, kValue, g);
      }
      break;
    case Fused::codegen:
      for (int slab = 0; slab < 4; ++slab)
        for (const Part part : {kQuery, kValue, kKey})
          for (int h = slab * kHeads / 4; h < (slab + 1) * kHeads / 4; ++h)
            push_head(lines, part, h);
      break;
  }
  return lines;
}

void add_matrix(Tensors& tensors, const std::string& name, const std::vector<Line>& lines,
                int layer, bool transposed) {
  const std::size_t rows = lines.size();
  std::vector<float> weight(rows * kWidth), bias;
  for (std::size_t r = 0; r < rows; ++r) {
    const auto [part, head, row] = lines[r];
    for (int c = 0; c < kWidth; ++c)
      weight[transposed ? c * rows + r : r * kWidth + static_cast<std::size_t>(c)] =
          part < 0 ? -1.0f : mark(layer, static_cast<Part>(part), head, row, c);
    bias.push_back(part < 0 ? -1.0f : mark(layer, static_cast<Part>(part), head, row, -1));
  }
  tensors.add(name + ".weight",
              transposed ? std::vector<std::uint64_t>{kWidth, rows}
                         : std::vector<std::uint64_t>{rows, kWidth},
              weight);
  tensors.add(name + ".bias", {rows}, bias);
}

std::vector<float> gains(int layer) {
  std::vector<float> values;
  for (int c = 0; c < kWidth; ++c) values.push_back(static_cast<float>(layer) + 0.25f * (c + 1));
  return values;
}

void add_norm(Tensors& tensors, const std::string& name, int layer) {
  if (name.empty() || name.ends_with('.')) return;
  tensors.add(name + ".weight", {kWidth}, gains(layer));
}

int kv_heads(const Row& row) {
  return row.kv == KvRule::all ? kHeads : row.kv == KvRule::bigcode ? 1 : kKv;
}

std::string config_for(const Row& row, const std::string& type) {
  const auto first = [](std::string_view own, std::string_view usual) {
    return split(own.empty() ? usual : own).front();
  };
  std::string json = "{\"model_type\": \"" + type + "\"";
  const auto put = [&](const std::string& key, const std::string& value) {
    json += ", \"" + key + "\": " + value;
  };
  put(first(row.heads_key, kHeadsKeys), std::to_string(kHeads));
  put(first(row.hidden_key, kHiddenKeys), std::to_string(kWidth));
  put(first(row.depth_key, kDepthKeys), std::to_string(kDepth));
  if (row.kv == KvRule::config || row.kv == KvRule::falcon) put("num_kv_heads", "2");
  if (row.kv == KvRule::falcon) put("new_decoder_architecture", "true");
  if (!row.shared_kv.empty()) put(std::string(row.shared_kv), "0");
  if (row.shared) put("num_hidden_groups", std::to_string(kDepth));
  if (!row.when.key.empty()) put(std::string(row.when.key), row.when.value ? "true" : "false");
  if (row.qk_norm && !row.qk_norm->when.key.empty())
    put(std::string(row.qk_norm->when.key), row.qk_norm->when.value ? "true" : "false");
  if (row.latent != nullptr)
    json +=
        ", \"qk_nope_head_dim\": 4, \"qk_rope_head_dim\": 2, \"v_head_dim\": 3, "
        "\"kv_lora_rank\": 6, \"q_lora_rank\": 5";
  return json + "}";
}

Tensors tensors_for(const Row& row) {
  Tensors tensors;
  const int kv = kv_heads(row);
  const std::string prefix = "any.";
  for (int layer = 0; layer < kDepth; ++layer) {
    std::string at = prefix + std::string(row.stem);
    at.replace(at.find("{i}"), 3, std::to_string(layer));
    if (row.shared) at.replace(at.find("{j}"), 3, "0");
    if (row.latent != nullptr) {
      const std::string module = at + "self_attn.";
      tensors.add(module + "q_a_proj.weight", {5, kWidth})
          .add(module + "q_a_layernorm.weight", {5})
          .add(module + "q_b_proj.weight", {kHeads * 6, 5})
          .add(module + "kv_a_proj_with_mqa.weight", {8, kWidth})
          .add(module + "kv_a_layernorm.weight", {6})
          .add(module + "kv_b_proj.weight", {kHeads * 7, 6});
    } else if (!row.fused.empty()) {
      add_matrix(tensors, at + std::string(row.fused), fused_lines(row.layout, kv), layer,
                 row.conv1d);
    } else {
      std::vector<Line> query, key, value;
      for (int h = 0; h < kHeads; ++h) {
        push_head(query, kQuery, h);
        if (row.gated_query) query.insert(query.end(), kSize, {-1, 0, 0});
      }
      for (int g = 0; g < kv; ++g) push_head(key, kKey, g);
      for (int g = 0; g < kv; ++g) push_head(value, kValue, g);
      add_matrix(tensors, at + std::string(row.query), query, layer, false);
      add_matrix(tensors, at + std::string(row.key), key, layer, false);
      add_matrix(tensors, at + std::string(row.value), value, layer, false);
    }
    if (row.norm.kind != NormKind::none && row.norm.kind != NormKind::plain_layer)
      add_norm(tensors, at + split(row.norm.name).back(), layer);
    if (row.qk_norm && row.qk_norm->over != QkOver::no_gain)
      for (const auto& [names, heads] :
           {std::pair{row.qk_norm->query, kHeads}, std::pair{row.qk_norm->key, kv}}) {
        const std::uint64_t n = static_cast<std::uint64_t>(heads);
        const std::string name = at + std::string(names);
        if (row.qk_norm->over == QkOver::head) tensors.add(name + ".weight", {kSize});
        if (row.qk_norm->over == QkOver::full) tensors.add(name + ".weight", {n * kSize});
        if (row.qk_norm->over == QkOver::each_head) tensors.add(name + ".weight", {n, kSize});
        for (int h = 0; row.qk_norm->over == QkOver::tensors && h < heads; ++h) {
          std::string one = name;
          one.replace(one.find("{h}"), 3, std::to_string(h));
          tensors.add(one + ".weight", {kSize});
        }
      }
    if (row.bias == PositionBias::t5_own || (row.bias == PositionBias::t5 && layer == 0))
      tensors.add(at + "layer.0.SelfAttention.relative_attention_bias.weight", {6, kHeads});
  }
  if (row.bias == PositionBias::mpnet)
    tensors.add(prefix + "encoder.relative_attention_bias.weight", {6, kHeads});
  add_norm(tensors, prefix + std::string(row.norm.first.norm), 9);
  for (const std::string_view table : {row.norm.first.tokens, row.norm.first.positions})
    if (!table.empty()) tensors.add(prefix + split(table).front() + ".weight", {5, kWidth});
  std::string memory = prefix + std::string(row.memory_norm);
  if (const std::size_t last = memory.find("{last}"); last != std::string::npos)
    memory.replace(last, 6, "0");
  add_norm(tensors, memory, 8);
  return tensors;
}

void expect_heads(const Made& made, const Projection& projection, Part part, int layer) {
  ASSERT_EQ(projection.rows, kSize);
  ASSERT_EQ(projection.bias.size(), std::size_t(projection.heads) * kSize);
  std::size_t of_bias = 0;
  for (int head = 0; head < projection.heads; ++head) {
    std::vector<float> out(elements_of(projection));
    ASSERT_TRUE(read_head(*made.store, projection, head, std::span<float>(out)).ok());
    std::size_t at = 0;
    for (int row = 0; row < kSize; ++row) {
      ASSERT_EQ(projection.bias[of_bias++], mark(layer, part, head, row, -1));
      for (int c = 0; c < kWidth; ++c) ASSERT_EQ(out[at++], mark(layer, part, head, row, c));
    }
  }
}

TEST(ArchitectureTable, EveryRowReadsWhatWasWritten) {
  for (const Row* row : every_row())
    for (const std::string& type : split(row->types)) {
      SCOPED_TRACE(type + " " + std::string(row->stack) + " " + std::string(row->stem));
      // Others of the type find nothing here, but a type's own alternative must not be switched on.
      const Made made = read_made(config_for(*row, type), tensors_for(*row));
      ASSERT_EQ(made.problem(), "");
      ASSERT_EQ(made.value().layers.size(), std::size_t(kDepth));
      EXPECT_TRUE(made.value().assumptions.empty());
      for (int layer = 0; layer < kDepth; ++layer) {
        const AttentionLayer& read = made.layer(static_cast<std::size_t>(layer));
        EXPECT_EQ(read.layer, layer);
        EXPECT_EQ(read.stack, row->stack);
        EXPECT_EQ(read.causal, row->causal);
        EXPECT_EQ(read.cross, row->cross);
        EXPECT_EQ(read.query_heads, kHeads);
        EXPECT_GT(read.score_scale, 0);
        const InputNorm& input = read.latent ? read.latent->rope_input : read.inputs.front().query;
        EXPECT_EQ(input.width, kWidth);
        if (row->norm.kind == NormKind::rms || row->norm.kind == NormKind::layer) {
          EXPECT_EQ(input.layer_norm, row->norm.kind == NormKind::layer);
          const auto expected = gains(layer);
          for (int c = 0; c < kWidth; ++c)
            EXPECT_EQ(input.gain[static_cast<std::size_t>(c)],
                      expected[static_cast<std::size_t>(c)] + (row->norm.plus_one ? 1 : 0));
        } else if (row->norm.kind == NormKind::previous && layer > 0) {
          EXPECT_TRUE(input.layer_norm);
          EXPECT_EQ(input.gain.front(), gains(layer - 1).front());
        } else if (row->norm.kind == NormKind::previous) {
          EXPECT_EQ(input.kind == InputKind::embedding, row->norm.first.norm.empty());
        } else {
          EXPECT_EQ(input.kind == InputKind::residual, row->norm.kind == NormKind::none);
        }
        if (row->latent != nullptr) {
          EXPECT_EQ(read.head_dim, 6);
          EXPECT_EQ(read.value_dim, 3);
          EXPECT_EQ(read.latent->query_rope.first_row.at(1), 10u);
          EXPECT_EQ(read.value.first_row.at(1), 11u);
          EXPECT_EQ(read.latent->key_rope.first_row.at(0), 6u);
          EXPECT_EQ(read.inputs.front().key.squared_norm, 6);
          continue;
        }
        EXPECT_EQ(read.kv_heads, kv_heads(*row));
        expect_heads(made, read.query, kQuery, layer);
        expect_heads(made, read.key, kKey, layer);
        expect_heads(made, read.value, kValue, layer);
        if (read.qk_norm) {
          EXPECT_EQ(read.qk_norm->query_gain.size(), std::size_t(kHeads) * kSize);
          EXPECT_EQ(read.qk_norm->key_gain.size(), std::size_t(read.kv_heads) * kSize);
          EXPECT_EQ(read.qk_norm->full_width, row->qk_norm->over == QkOver::full);
        } else {
          EXPECT_TRUE(!row->qk_norm || row->qk_norm->rope_layers_only);
        }
        if (row->bias == PositionBias::t5 || row->bias == PositionBias::t5_own ||
            row->bias == PositionBias::mpnet) {
          EXPECT_EQ(read.bias_constant.size(), std::size_t(kHeads));
        }
        const bool slopes = row->bias == PositionBias::alibi_bloom ||
                            row->bias == PositionBias::alibi_falcon ||
                            row->bias == PositionBias::alibi_mpt;
        EXPECT_EQ(read.bias_slope.size(), slopes ? std::size_t(kHeads) : 0);
        if (row->cross && !row->memory_norm.empty()) {
          EXPECT_EQ(read.inputs.front().key.gain.front(), gains(8).front());
        }
      }
    }
}

TEST(ArchitectureTable, OwnTablesOfUmt5) {
  for (const Row* row : rows_for("umt5")) {
    if (row->bias != PositionBias::t5_own) continue;
    const Made made = read_made(config_for(*row, "umt5"), tensors_for(*row));
    ASSERT_EQ(made.problem(), "");
    EXPECT_NE(made.layer(0).bias_constant, made.layer(1).bias_constant);
  }
  for (const Row* row : rows_for("t5")) {
    if (row->bias != PositionBias::t5) continue;
    const Made made = read_made(config_for(*row, "t5"), tensors_for(*row));
    EXPECT_EQ(made.layer(0).bias_constant, made.layer(1).bias_constant);
  }
}

// Slopes for numbers of heads that are no power of two (Press et al.; MPT's order differs).
TEST(ArchitectureTable, AlibiSlopes) {
  const auto slopes = [](const char* type) {
    std::vector<const Row*> rows = rows_for(type);
    Tensors tensors;
    const Row& row = *rows.front();
    std::string at(row.stem);
    at.replace(at.find("{i}"), 3, "0");
    tensors.add(at + std::string(row.fused) + ".weight", {36, 12})
        .add(at + std::string(row.norm.name) + ".weight", {12});
    const Made made = read_made(
        "{\"model_type\": \"" + std::string(type) + "\", \"hidden_size\": 12, \"n_heads\": 6}",
        tensors);
    EXPECT_EQ(made.problem(), "");
    return made.layer().bias_slope;
  };
  const std::vector<double> bloom = {0.25, 0.0625, 0.015625, 0.00390625, 0.5, 0.125};
  EXPECT_EQ(slopes("bloom"), bloom);
  const std::vector<double> mpt = {0.25, 0.0625, 0.015625, 0.00390625, 0.5, 0.125};
  EXPECT_EQ(slopes("mpt"), mpt);
}

}  // namespace
}  // namespace ullage::checkpoint
