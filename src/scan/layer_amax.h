// What scales and descales take of a layer: the largest of a figure over its heads, and where the amax of q, k and v stands
// in each tier.
#pragma once

#include <array>
#include <functional>

#include "ullage/scan/result.h"
#include "ullage/scan/scales.h"

namespace ullage::scan {

struct TensorAmax {
  const char* name;
  Figure HeadResult::* certificate;
  Figure HeadResult::* expected;

  [[nodiscard]] Figure HeadResult::* in(Tier tier) const {
    return tier == Tier::certificate ? certificate : expected;
  }
};

inline constexpr std::array<TensorAmax, 3> kTensorAmax = {{
    {"q", &HeadResult::amax_query, &HeadResult::amax_expected_query},
    {"k", &HeadResult::amax_key, &HeadResult::amax_expected_key},
    {"v", &HeadResult::amax_value, &HeadResult::amax_expected_value},
}};

// The largest of a figure over the heads, which `get` takes from one (a member of HeadResult will do); without it for one
// head there is none for the layer.
template <class Get>
Figure largest_of_heads(const LayerResult& layer, Get get) {
  Figure most = Figure::none("no heads");
  for (const HeadResult& head : layer.heads) {
    const Figure figure = std::invoke(get, head);
    if (!figure.known()) return figure;
    if (!most.known() || figure.value() > most.value()) most = figure;
  }
  return most;
}

}  // namespace ullage::scan
