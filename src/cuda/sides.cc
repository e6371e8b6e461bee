#include "cuda/sides.h"

#include <algorithm>
#include <string>

namespace ullage::cuda {
namespace {

Error invalid(const char* what, std::size_t side, const std::string& expected,
              const std::string& found) {
  return {Code::value_invalid, what, "side " + std::to_string(side), expected, found};
}

}  // namespace

Status check_sides(std::span<const DeviceRows> sides) {
  if (sides.empty()) return invalid("there are no heads", 0, "at least 1", "0");
  for (std::size_t s = 0; s < sides.size(); ++s) {
    const DeviceRows& rows = sides[s];
    if (rows.rows < 1 || rows.rows > kMostRows)
      return invalid("a head has too many rows, or none", s, "1 to " + std::to_string(kMostRows),
                     std::to_string(rows.rows));
    if (rows.width < 1)
      return invalid("a head has no columns", s, "at least 1", std::to_string(rows.width));
    if (rows.values == nullptr) return invalid("a head has no weights", s, "", "");
  }
  return {};
}

Status check_pairs(std::span<const DeviceRows> sides, std::span<const HeadPair> pairs) {
  const int count = static_cast<int>(sides.size());
  if (pairs.empty()) return invalid("there are no pairs of heads", 0, "at least 1", "0");
  for (std::size_t p = 0; p < pairs.size(); ++p) {
    const HeadPair& pair = pairs[p];
    for (const int side : {pair.query, pair.key}) {
      if (side < 0 || side >= count)
        return Error{Code::value_invalid, "a pair names no side", "pair " + std::to_string(p),
                     "0 to " + std::to_string(count - 1), std::to_string(side)};
    }
    const int query = sides[static_cast<std::size_t>(pair.query)].rows;
    const int key = sides[static_cast<std::size_t>(pair.key)].rows;
    if (query != key)
      return Error{Code::value_invalid, "the sides of a pair differ in rows",
                   "pair " + std::to_string(p), std::to_string(query), std::to_string(key)};
  }
  return {};
}

std::size_t gram_bytes(const DeviceRows& rows) {
  const auto extent = static_cast<std::size_t>(extent_of(rows.rows));
  return extent * extent * sizeof(double);
}

Result<SideTable> SideTable::make(std::span<const DeviceRows> sides, double* grams, Stream stream) {
  SideTable out;
  out.shape.sides = static_cast<int>(sides.size());
  for (const DeviceRows& rows : sides) {
    out.shape.rows = std::max(out.shape.rows, rows.rows);
    out.shape.any_mean = out.shape.any_mean || rows.project_mean;
  }
  ULLAGE_ASSIGN(out.states, DeviceMemory::allocate(sides.size() * sizeof(SideState)));
  const std::size_t means = out.shape.any_mean ? sides.size() * kMostRows : 0;
  ULLAGE_ASSIGN(out.means, DeviceMemory::allocate(means * sizeof(float)));
  std::size_t at = 0;
  for (const DeviceRows& rows : sides) {
    Side side;
    side.rows = rows;
    const std::size_t s = out.host.size();
    if (out.shape.any_mean) side.means = out.means.data<float>() + s * kMostRows;
    side.gram = grams + at / sizeof(double);
    side.state = out.states.data<SideState>() + s;
    at += gram_bytes(rows);
    out.host.push_back(side);
  }
  ULLAGE_ASSIGN(out.table, uploaded<Side>(out.host, stream));
  return out;
}

}  // namespace ullage::cuda
