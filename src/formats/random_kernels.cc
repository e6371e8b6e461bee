// The random words of stochastic rounding, in vectors of counters, written once for all CPU paths.
#include <cstddef>
#include <cstdint>

#include "formats/kernels.h"
#include "ullage/formats/random.h"

#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4 | HWY_AVX3_DL)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "formats/random_kernels.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace ullage::formats::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

using U = hn::CappedTag<std::uint32_t, kRandomLanes>;
using VU = hn::VFromD<U>;
constexpr std::size_t kLanes = hn::MaxLanes(U());
constexpr std::size_t kParts = kRandomLanes / kLanes;

#if HWY_TARGET == HWY_SCALAR

void fill_random(std::uint64_t seed, std::uint64_t first, std::size_t count, std::uint32_t* words) {
  for (std::size_t group = 0; group < count; group += kRandomGroup)
    for (std::size_t lane = 0; lane < kRandomLanes; ++lane) {
      const PhiloxBlock block = random_block(seed, first + group + lane);
      for (std::size_t word = 0; word < block.size(); ++word)
        words[group + word * kRandomLanes + lane] = block[word];
    }
}

#else

using W = hn::RepartitionToWide<U>;
using VW = hn::VFromD<W>;

// The 64-bit products of the lower halves of 64-bit lanes; what the upper halves hold is ignored.
HWY_INLINE VW multiply(VW a, std::uint32_t b) {
  return hn::MulEven(hn::BitCast(U(), a), hn::Set(U(), b));
}

struct Keys {
  VW first[kPhiloxRounds];
  VW second[kPhiloxRounds];
};

// The four words of the blocks whose counters' lower words are in `lanes`, upper words all `upper`. The other two
// words of each counter are zero, so for two rounds some words are the same in every lane.
HWY_INLINE void philox_lanes(VW lanes, std::uint32_t upper, std::uint64_t seed, const Keys& keys,
                             VW (&words)[4]) {
  const W wide;
  const auto key0 = static_cast<std::uint32_t>(seed);
  const auto key1 = static_cast<std::uint32_t>(seed >> 32);
  // Round 0, where words 2 and 3 are zero: word 0 becomes uniform, word 1 zero.
  const VW product = multiply(lanes, kPhiloxMultiplier0);
  const std::uint32_t uniform = upper ^ key0;
  VW c2 = hn::Xor(hn::ShiftRight<32>(product), keys.second[0]);
  VW c3 = product;
  // Round 1: the product of word 0 is uniform.
  const std::uint64_t uniform_product = std::uint64_t{kPhiloxMultiplier0} * uniform;
  VW product1 = multiply(c2, kPhiloxMultiplier1);
  VW c0 = hn::Xor(hn::ShiftRight<32>(product1), keys.first[1]);
  VW c1 = product1;
  c2 = hn::Xor(c3, hn::Set(wide, (uniform_product >> 32) ^ (key1 + kPhiloxWeyl1)));
  c3 = hn::Set(wide, uniform_product & 0xFFFFFFFF);
  for (int round = 2; round < kPhiloxRounds; ++round) {
    const VW product0 = multiply(c0, kPhiloxMultiplier0);
    product1 = multiply(c2, kPhiloxMultiplier1);
    c0 = hn::Xor3(hn::ShiftRight<32>(product1), c1, keys.first[round]);
    c2 = hn::Xor3(hn::ShiftRight<32>(product0), c3, keys.second[round]);
    c1 = product1;
    c3 = product0;
  }
  words[0] = c0;
  words[1] = c1;
  words[2] = c2;
  words[3] = c3;
}

void fill_random(std::uint64_t seed, std::uint64_t first, std::size_t count,
                 std::uint32_t* HWY_RESTRICT words) {
  const W wide;
  const U u;
  const VU iota = hn::Iota(u, 0);
  Keys keys;
  for (int round = 0; round < kPhiloxRounds; ++round) {
    const auto turn = static_cast<std::uint32_t>(round);
    keys.first[round] = hn::Set(wide, static_cast<std::uint32_t>(seed) + turn * kPhiloxWeyl0);
    keys.second[round] =
        hn::Set(wide, static_cast<std::uint32_t>(seed >> 32) + turn * kPhiloxWeyl1);
  }
  for (std::size_t group = 0; group < count; group += kRandomGroup) {
    const std::uint64_t counter = (first + group) / kRandomGroup * kRandomLanes;
    // 16 divides 2^32, so the counter's upper half is the same for all lanes of a group.
    const auto upper = static_cast<std::uint32_t>(counter >> 32);
    for (std::size_t part = 0; part < kParts; ++part) {
      const VU counters =
          hn::Add(iota, hn::Set(u, static_cast<std::uint32_t>(counter + part * kLanes)));
      VW even[4];
      VW odd[4];
      philox_lanes(hn::BitCast(wide, counters), upper, seed, keys, even);
      philox_lanes(hn::ShiftRight<32>(hn::BitCast(wide, counters)), upper, seed, keys, odd);
      for (std::size_t word = 0; word < 4; ++word) {
        const VU merged =
            hn::OddEven(hn::BitCast(u, hn::ShiftLeft<32>(odd[word])), hn::BitCast(u, even[word]));
        hn::StoreU(merged, u, words + group + word * kRandomLanes + part * kLanes);
      }
    }
  }
}

#endif  // HWY_TARGET == HWY_SCALAR

}  // namespace

RandomKernel random_kernel() { return fill_random; }

}  // namespace ullage::formats::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ullage::formats {

RandomKernel random_kernel(CpuPath path) {
#if HWY_TARGETS & HWY_AVX3
  if (path >= CpuPath::avx512) return N_AVX3::random_kernel();
#endif
#if HWY_TARGETS & HWY_AVX2
  if (path >= CpuPath::avx2) return N_AVX2::random_kernel();
#endif
  (void)path;
  return HWY_STATIC_DISPATCH(random_kernel)();
}

}  // namespace ullage::formats
#endif
