// Grams of many heads made elsewhere than in this CPU's own pass: what a scan hands a layer's rows to, when it is told to.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "ullage/base/result.h"
#include "ullage/spectrum/gram.h"

namespace ullage::spectrum {

// The Grams of one head as gram_pass makes them. fits: false where only FP64 resolves the head, or a weight is not
// finite: the Grams are then of no use.
struct HeadGrams {
  Gram stored;
  Gram folded;
  bool fits = false;
};

struct LayerGrams {
  std::vector<HeadGrams> heads;  // in the order of their numbers
  std::vector<Matrix> cross;     // one a pair
};

struct CrossPair {
  int query = 0;
  int key = 0;
};

// One layer at a time: begin, add each head once, finish.
class GramEngine {
 public:
  virtual ~GramEngine() = default;
  // The kind of device, as reports name it: "cuda".
  [[nodiscard]] virtual const char* device() const = 0;
  virtual Status begin(std::size_t heads) = 0;
  // Copies the rows, so that the caller may reuse their memory; from any thread.
  virtual Status add(std::size_t head, const HeadRows& rows) = 0;
  // The Grams of all heads, and cross_gram's estimate of each pair (of one width; a pair with a head that does not fit
  // is 0 x 0).
  virtual Result<LayerGrams> finish(std::span<const CrossPair> pairs) = 0;
};

}  // namespace ullage::spectrum
