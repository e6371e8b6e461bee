#include "ullage/bounds/head.h"

namespace ullage::bounds {

spectrum::Matrix inflated(const Side& side) {
  spectrum::Matrix out = side.gram;
  for (int i = 0; i < out.rows(); ++i) out(i, i) += side.inflation;
  return out;
}

std::span<const std::array<int, 2>> pairs_of(const Head& head) {
  if (head.rotation == nullptr) return {};
  return head.rotation->pairs;
}

Groups groups_of(int head_dim, std::span<const std::array<int, 2>> pairs) {
  Groups groups;
  groups.of_coordinate.assign(static_cast<std::size_t>(head_dim), -1);
  for (const std::array<int, 2>& pair : pairs) {
    for (const int c : pair) groups.of_coordinate[static_cast<std::size_t>(c)] = groups.count;
    ++groups.count;
  }
  for (int& group : groups.of_coordinate) {
    if (group < 0) group = groups.count++;
  }
  return groups;
}

}  // namespace ullage::bounds
