// The attention layers of a checkpoint, in one form for every architecture.
//
// An AttentionLayer says where each head's rows lie, what its input is known to be, and what happens between
// the projections and the score. It holds vectors (gains, biases) but no matrices: those are read head by
// head, so that memory stays bounded. The table of architectures (architectures.cc) fills it in.
//
// One head: q = A n_q + a, k = B n_k + b with A = W_Q,h diag(gain), a = W_Q,h bias + b_q (K and V alike),
// S_ij = score_scale q_i^T R_(j-i) k_j; see InputNorm for n.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "ullage/checkpoint/weights.h"

namespace ullage::checkpoint {

// Rows of one projection: W is [heads * rows, width] after undoing the checkpoint's layout. Read them
// with projection.h.
struct Projection {
  const TensorInfo* weight = nullptr;  // owned by the store
  WeightOptions storage;               // in_out: GPT-2's Conv1D, rows here are columns there
  int heads = 0;
  int rows = 0;  // of one head: head_dim, or value_dim
  int width = 0;
  std::vector<std::uint64_t> first_row;  // of each head, in the stored matrix's output dimension
  std::vector<double> bias;              // heads * rows, or empty
  std::string bias_name;                 // of the tensor, for messages; empty without
};

enum class InputKind {
  normalised,  // x = gain o n + bias, |n|^2 <= squared_norm = width
  embedding,  // x = n, |n|^2 <= squared_norm from the rows of the embedding tables (no isotropic model)
  residual,  // nothing is known about x: squared_norm is infinite
};

// What one side of an attention layer reads.
struct InputNorm {
  InputKind kind = InputKind::normalised;
  bool layer_norm = false;  // n is orthogonal to the ones vector
  int width = 0;
  double squared_norm = 0;
  std::vector<double> gain = {};  // effective (1 + w where the architecture stores w); empty: ones
  std::vector<double> bias = {};  // empty: zeros
  // The tensor that holds the gain, or what stands for it, for messages. Names come from the file:
  // untrusted text, here and in AttentionLayer, escape before showing.
  std::string name = {};
};

enum class RopePairing { none, half_split, interleaved, unknown };

struct Rope {
  RopePairing pairing = RopePairing::none;
  int first = 0;  // first rotated coordinate of the head (MLA keeps its rotated part apart: 0)
  // Coordinates first .. first + rotary_dim - 1 rotate, in rotary_dim / 2 pairs.
  int rotary_dim = 0;
  double attention_factor = 1;  // multiplies the rotated coordinates of q and of k
  // Radians a position, one a pair; empty if not one_dimensional.
  std::vector<double> inverse_frequency;
  bool one_dimensional = true;  // false: angles follow 2-D patches, not j - i
  // Tokens up to which inverse_frequency holds: beyond, dynamic NTK and LongRoPE have other angles. 0: never,
  // where a config can be read in two ways or tokens of images have angles of their own.
  double angles_until = std::numeric_limits<double>::infinity();
};

enum class QkNormKind { rms, layer };

// q <- normalise(q) o gain + bias before the score, k alike.
struct QkNorm {
  QkNormKind kind = QkNormKind::rms;
  bool full_width = false;  // one norm over all heads together; else one a head
  bool after_rope = false;
  std::vector<double> query_gain, key_gain;  // heads * head_dim each (1 + w applied), never empty
  std::vector<double> query_bias, key_bias;  // the same, or empty
};

// Multi-head latent attention: S = s (q_nope . k_nope + (R q_rope) . (R k_rope)), k_rope common to all heads.
// AttentionLayer's query, key, value are then the nope parts and values (key and value read the normed
// latent, query the normed query latent or the block's input).
struct LatentAttention {
  Projection query_rope;  // reads the same input as query
  Projection key_rope;    // one head; reads rope_input
  InputNorm rope_input;   // the block's own input norm
};

// One input that the layer can see. Most layers have one; a layer shared by several depths has several, and a
// bound is the largest over them.
struct LayerInput {
  InputNorm query;
  InputNorm key;  // of keys and values; the same as query unless cross-attention or latent
};

struct AttentionLayer {
  int layer = 0;
  std::string name;   // the module that holds q and k: "model.layers.0.self_attn"
  std::string stack;  // "self", "encoder.self", "decoder.self", "decoder.cross"
  bool causal = false;
  bool cross = false;
  int query_heads = 0;
  int kv_heads = 0;  // query head h reads kv head h / (query_heads / kv_heads)
  int head_dim = 0;  // of q and k; latent: query.rows + latent->query_rope.rows
  int value_dim = 0;

  Projection query, key, value;
  std::vector<LayerInput> inputs;  // at least one
  double score_scale = 0;
  Rope rope;  // pairing none: no rotation in this layer
  std::optional<QkNorm> qk_norm;
  std::optional<LatentAttention> latent;
  double soft_cap = 0;  // 0: none
  // 0: none; q, k and v clamped to [-c, c] (after a QK-norm where there is one).
  double clip_qkv = 0;
  // Added to the score after scaling: at most bias_constant[h] + bias_slope[h] * (context - 1); empty: none.
  std::vector<double> bias_constant, bias_slope;
  std::string bias_unknown;  // why the added term has no weight-only bound here; empty: it has
  // Position-dependent factor on q: at most 1 + temperature_scale * ln(1 + floor(context / temperature_floor)).
  double temperature_scale = 0;
  double temperature_floor = 1;
  bool value_normed = false;  // v is RMS-normed without gain before it is used
  // Why no bound can be claimed: the model type is not known, so norm, gain and scale are a guess, fit for
  // estimates only. Empty: they are known.
  std::string guessed;
};

// Every attention layer that a checkpoint holds, and what had to be assumed to find them.
struct AttentionModel {
  std::string model_type;
  std::vector<AttentionLayer> layers;  // in order of tower, stack and depth
  std::int64_t max_positions = 0;  // max_position_embeddings or its like; 0: the config has none
  // What was taken for granted, or left out: one sentence each.
  std::vector<std::string> assumptions;
};

}  // namespace ullage::checkpoint
