// The counter-based generator behind stochastic rounding: one 32-bit word for each (seed, index).
//
// Philox-4x32 with 7 rounds: the fewest that pass BigCrush (J. Salmon, M. Moraes, R. Dror, D. Shaw,
// "Parallel random numbers: as easy as 1, 2, 3", SC 2011, table 2). A word depends on seed and
// index alone, so the bits are the same for any order, thread count, chunk, stride and CPU path.
#pragma once

#include <array>
#include <cstdint>

namespace ullage::formats {

inline constexpr int kPhiloxRounds = 7;
inline constexpr std::uint32_t kPhiloxMultiplier0 = 0xD2511F53;
inline constexpr std::uint32_t kPhiloxMultiplier1 = 0xCD9E8D57;
inline constexpr std::uint32_t kPhiloxWeyl0 = 0x9E3779B9;
inline constexpr std::uint32_t kPhiloxWeyl1 = 0xBB67AE85;

using PhiloxBlock = std::array<std::uint32_t, 4>;

constexpr PhiloxBlock philox_round(const PhiloxBlock& counter, std::uint32_t key0,
                                   std::uint32_t key1) {
  const std::uint64_t product0 = std::uint64_t{kPhiloxMultiplier0} * counter[0];
  const std::uint64_t product1 = std::uint64_t{kPhiloxMultiplier1} * counter[2];
  return {static_cast<std::uint32_t>(product1 >> 32) ^ counter[1] ^ key0,
          static_cast<std::uint32_t>(product1),
          static_cast<std::uint32_t>(product0 >> 32) ^ counter[3] ^ key1,
          static_cast<std::uint32_t>(product0)};
}

constexpr PhiloxBlock philox(PhiloxBlock counter, std::uint64_t seed, int rounds = kPhiloxRounds) {
  auto key0 = static_cast<std::uint32_t>(seed);
  auto key1 = static_cast<std::uint32_t>(seed >> 32);
  for (int round = 0; round < rounds; ++round) {
    counter = philox_round(counter, key0, key1);
    key0 += kPhiloxWeyl0;
    key1 += kPhiloxWeyl1;
  }
  return counter;
}

// Elements share Philox blocks so that vectors of 16 need no shuffle: of each 64 consecutive
// elements, element 16 w + l takes word w of the block whose counter is 16 (index / 64) + l.
inline constexpr std::uint64_t kRandomLanes = 16;
inline constexpr std::uint64_t kRandomGroup = 64;

constexpr PhiloxBlock random_block(std::uint64_t seed, std::uint64_t index) {
  const std::uint64_t counter = index / kRandomGroup * kRandomLanes + index % kRandomLanes;
  return philox(
      {static_cast<std::uint32_t>(counter), static_cast<std::uint32_t>(counter >> 32), 0, 0}, seed);
}

constexpr std::uint32_t random_word(std::uint64_t seed, std::uint64_t index) {
  return random_block(seed, index)[index % kRandomGroup / kRandomLanes];
}

}  // namespace ullage::formats
