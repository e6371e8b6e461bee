// One head explained: its figures, and the inputs that come closest to its certificate.
#pragma once

#include <string>
#include <vector>

#include "ullage/scan/scan.h"

namespace ullage::scan {

// One coordinate of the normalised input n and its share of |n|^2.
struct Coordinate {
  int index = 0;
  double value = 0;
  double share = 0;
};

struct Explanation {
  LayerResult layer;                // with this one head
  std::vector<std::string> others;  // names of layers that hold this depth too and fit `name`
  // The largest |logit| that alternating maximisation over both tokens found, before cap and additive
  // bias: attained, so no valid bound is below it. None where a norm or clip stands between.
  Figure attained;
  double offset = 0;  // key position minus query position there; 0 without RoPE
  std::vector<Coordinate> query_input, key_input;  // the largest of n_q and n_k there
};

// Errors: not_found when the checkpoint has no such layer or head; the scan's own.
// Several stacks may hold one depth: `name` (a part of the layer's name) chooses, empty takes the first.
Result<Explanation> explain(const checkpoint::Container& container,
                            const checkpoint::AttentionModel& model, int layer, int head,
                            const std::string& name, const ScanOptions& options);

}  // namespace ullage::scan
