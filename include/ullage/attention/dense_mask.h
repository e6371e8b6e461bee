// Is a filled mask one that the fast kernels know: a band of keys around a diagonal, and padding?
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "ullage/attention/problem.h"

namespace ullage::attention {

// Query i sees the keys j with first <= j - i <= last and keep[batch x keys + j] not 0; none: no limit.
struct MaskBand {
  std::optional<std::ptrdiff_t> first;
  std::optional<std::ptrdiff_t> last;
  std::vector<std::uint8_t> keep;
};

// The band and padding that let through what a mask does, one mask for all heads; none where no band
// does. Fewest limits first: a limit that padding explains is none. mask: not 0 where a query sees a
// key, (batch, 0, query, key). Reads every element a few times.
std::optional<MaskBand> band_of(const View<const std::uint8_t>& mask, std::size_t batch,
                                std::size_t queries, std::size_t keys);

}  // namespace ullage::attention
