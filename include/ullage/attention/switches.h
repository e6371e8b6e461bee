// The diagnosis of [F] (arXiv 2510.04212): ten changes to a failing layer, and which of them cure it.
//
// Training until it fails takes thousands of steps; what fails is known to follow from delta's error
// having one sign, so that is what is measured, on a planted layer and an ordinary one.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "ullage/attention/made.h"
#include "ullage/attention/recipe.h"
#include "ullage/attention/reference.h"
#include "ullage/attention/values.h"
#include "ullage/base/result.h"

namespace ullage::attention {

// How one head of one layer is computed.
struct Treatment {
  Recipe recipe;
  Options options;
};

struct Switch {
  std::string_view id;                  // "V0" ... "V9"
  std::string_view change;              // in words
  std::optional<bool> published_fails;  // none: not among the published ones
  Treatment (*treat)(bool planted_layer, bool planted_head);
};

// V0 to V9; "V8 rounded", where O is rounded after the FP32 product: l as stored in BF16 is exactly 2
// for two repeated maxima, so that this rounding is the same sticky tie and still fails; and
// "V9 stabilised", V9 with this library's rule.
std::span<const Switch> switches();

struct SwitchOptions {
  std::size_t steps = 8;  // batches, each from its own seed
  PlantedOptions layer = {};
  int threads = 1;
};

// Two rows a switch: `ID: fails` (1 or 0) and `ID: delta error`, the mean signed error of delta over
// the planted heads, dO of unit size. A switch fails here where the mean over the rows of some head
// of either layer has one sign (sign test below 1e-6) and at least half of V0's size.
Result<std::vector<ValueRow>> measure_switches(const SwitchOptions& options);

}  // namespace ullage::attention
