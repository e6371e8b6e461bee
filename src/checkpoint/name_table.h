// Tensors by name: one open-addressing table over an array that somebody else owns.
//
// Names are chosen by whoever wrote the file, so the hash is keyed (SipHash-1-3 of Aumasson and Bernstein,
// 2012, with a key drawn once a process): nobody can prepare names that all fall into one slot. The order
// of anything shown never comes from here.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "ullage/checkpoint/header.h"

namespace ullage::checkpoint {

std::uint64_t hash_name(std::string_view name);

class NameTable {
 public:
  // Takes every tensor in, up to the first whose name is there already: its index, or tensors.size().
  // The array may grow no more, and must outlive the table.
  std::size_t build(std::span<const TensorInfo> tensors);

  const TensorInfo* find(std::string_view name) const;  // nullptr when absent

 private:
  std::span<const TensorInfo> tensors_;
  // 0: free; else the upper half of the hash, and index + 1. At most two thirds are taken.
  std::vector<std::uint64_t> slots_;
};

}  // namespace ullage::checkpoint
