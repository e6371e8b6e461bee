#include "checkpoint/name_table.h"

#include <array>
#include <bit>
#include <cstring>
#include <random>

namespace ullage::checkpoint {
namespace {

constexpr std::uint64_t kIndexMask = 0xFFFFFFFF;

const std::array<std::uint64_t, 2>& hash_key() {
  static const std::array<std::uint64_t, 2> key = [] {
    std::random_device device;
    const auto draw = [&] { return std::uint64_t{device()} << 32 | device(); };
    return std::array<std::uint64_t, 2>{draw(), draw()};
  }();
  return key;
}

struct SipState {
  std::uint64_t v0, v1, v2, v3;

  void round() {
    v0 += v1;
    v2 += v3;
    v1 = std::rotl(v1, 13) ^ v0;
    v3 = std::rotl(v3, 16) ^ v2;
    v0 = std::rotl(v0, 32);
    v2 += v1;
    v0 += v3;
    v1 = std::rotl(v1, 17) ^ v2;
    v3 = std::rotl(v3, 21) ^ v0;
    v2 = std::rotl(v2, 32);
  }
  void absorb(std::uint64_t word) {
    v3 ^= word;
    round();
    v0 ^= word;
  }
};

}  // namespace

std::uint64_t hash_name(std::string_view name) {
  const auto& [k0, k1] = hash_key();
  SipState state{k0 ^ 0x736f6d6570736575, k1 ^ 0x646f72616e646f6d, k0 ^ 0x6c7967656e657261,
                 k1 ^ 0x7465646279746573};
  std::size_t at = 0;
  for (; at + 8 <= name.size(); at += 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, name.data() + at, 8);
    state.absorb(word);
  }
  std::uint64_t last = std::uint64_t{name.size()} << 56;
  std::uint64_t rest = 0;
  if (at < name.size()) std::memcpy(&rest, name.data() + at, name.size() - at);
  last |= rest;
  state.absorb(last);
  state.v2 ^= 0xFF;
  state.round();
  state.round();
  state.round();
  return state.v0 ^ state.v1 ^ state.v2 ^ state.v3;
}

std::size_t NameTable::build(std::span<const TensorInfo> tensors) {
  tensors_ = tensors;
  slots_.assign(std::bit_ceil(tensors.size() + tensors.size() / 2 + 1), 0);
  const std::uint64_t mask = slots_.size() - 1;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const std::uint64_t hash = hash_name(tensors[i].name);
    std::uint64_t at = hash & mask;
    for (; slots_[at] != 0; at = (at + 1) & mask)
      if (((slots_[at] ^ hash) & ~kIndexMask) == 0 &&
          tensors[(slots_[at] & kIndexMask) - 1].name == tensors[i].name)
        return i;
    slots_[at] = (hash & ~kIndexMask) | (i + 1);
  }
  return tensors.size();
}

const TensorInfo* NameTable::find(std::string_view name) const {
  if (slots_.empty()) return nullptr;
  const std::uint64_t mask = slots_.size() - 1;
  const std::uint64_t hash = hash_name(name);
  for (std::uint64_t at = hash & mask; slots_[at] != 0; at = (at + 1) & mask) {
    if (((slots_[at] ^ hash) & ~kIndexMask) != 0) continue;
    const TensorInfo& tensor = tensors_[(slots_[at] & kIndexMask) - 1];
    if (tensor.name == name) return &tensor;
  }
  return nullptr;
}

}  // namespace ullage::checkpoint
