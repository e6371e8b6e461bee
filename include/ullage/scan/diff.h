// Two scans compared: heads whose headroom moved, and what scales that a stale amax history leaves behind would do to the
// second checkpoint (the resume check).
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "ullage/scan/result.h"
#include "ullage/scan/scales.h"

namespace ullage::scan {

struct MovedHead {
  const LayerResult* layer = nullptr;  // of the second scan
  const HeadResult* before = nullptr;
  const HeadResult* after = nullptr;
  Tier tier = Tier::certificate;  // of both figures: expected where both heads have it
  double bits_before = 0;         // headroom in the scans' format
  double bits_after = 0;
};

// Delayed scaling takes its multiplier from past amax values: format maximum / amax. After the second checkpoint is loaded
// those are still the first one's.
struct StaleScale {
  const LayerResult* layer = nullptr;  // of the second scan
  const char* tensor =
      "";  // "q", "k", "v", or "q k v": one scale for all three, as TransformerEngine has it
  Tier tier = Tier::certificate;  // of both amax figures
  double multiplier =
      1;               // 1 too where the first one's tensor is all zero: nothing was ever recorded
  double reached = 0;  // the second one's amax times it, in units of the format's largest number
  bool saturates = false;  // beyond what rounds to that number
};

// What could not be compared, and why.
struct LeftOut {
  std::string layer;
  std::string why;
};

struct Comparison {
  std::size_t layers = 0;         // in both scans, under one name and with as many heads
  std::vector<MovedHead> moved;   // every head that was compared, in the second scan's order
  std::vector<StaleScale> stale;  // formats that delayed scaling is for (e4m3, e5m2), else empty
  std::vector<LeftOut> left_out;
};

// Both scans must outlive the result, and be of one format.
Comparison compare(const ScanResult& before, const ScanResult& after);

}  // namespace ullage::scan
