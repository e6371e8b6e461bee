// One query head against its key head: spectra, certificates, expected figures, amax.
#pragma once

#include "scan/amax.h"
#include "scan/context.h"
#include "scan/fold.h"
#include "ullage/scan/result.h"
#include "ullage/spectrum/gram.h"
#include "ullage/spectrum/gram_engine.h"

namespace ullage::scan {

// What the query heads of a group share of their key head.
struct KeyHead {
  Folded folded;
  spectrum::Gram stored;        // no gain, no projection
  AmaxFigures amax;             // without QK-norm, which belongs to the pair of heads
  spectrum::PackedRows packed;  // for cross Grams; empty: not wanted, or beyond FP32
};

struct HeadWorkspace {
  spectrum::GramWorkspace grams;
  Folded query, precise_query, precise_key;
  spectrum::Gram stored;
  spectrum::Matrix cross;  // 0 x 0: not made
  KeyHead key;
};

// Folds a key head and bounds its entries, into workspace.key. `input` is the layer's input in use; `made`: its Grams
// where an engine made them, else null.
void scan_key(const LayerContext& context, const checkpoint::LayerInput& input, int kv_head,
              const spectrum::HeadRows& rows, const spectrum::HeadGrams* made,
              HeadWorkspace& workspace);

// A head's rows as stored: its own, and its key head's.
struct HeadPair {
  int head = 0;
  int kv_head = 0;
  spectrum::HeadRows query, key;
  // Where an engine made them: the query head's Grams, and its cross Gram.
  const spectrum::HeadGrams* made = nullptr;
  const spectrum::Matrix* cross = nullptr;
};

// Fills every figure of `out` but amax of V, from the key head in the workspace.
void scan_head(const LayerContext& context, const checkpoint::LayerInput& input,
               const HeadPair& pair, HeadWorkspace& workspace, HeadResult& out);

// Whether expected figures will ask for the product of query and key rows, and one pass can make it: with the means taken
// from keys that the queries' projection takes.
bool wants_cross(const LayerContext& context, const checkpoint::LayerInput& input);

// The slice of a projection's bias that belongs to a head.
std::span<const double> bias_of(const checkpoint::Projection& projection, int head);

// q as the kernel sees it has the layer's position-dependent factor.
void scale_amax(const LayerContext& context, AmaxFigures& query);
// Null for what would be a bound; estimates stay.
void drop_certificates(const std::string& why, HeadResult& out);
// headroom_bits and headroom_tier from the bounds.
void fill_headroom(const LayerContext& context, HeadResult& out);
// Every figure null for one reason: weights that are not finite.
void fill_none(const std::string& why, HeadResult& out);

Figure to_figure(const bounds::Figure& figure);

}  // namespace ullage::scan
