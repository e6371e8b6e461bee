#include "formats/gather.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <string>

#include "ullage/base/checked.h"

namespace ullage::formats {
namespace {

// One run along the last dimension: its element size known, so that each copy is one move.
template <class Element>
void copy_run(const char* from, std::int64_t stride, std::size_t count, char* to) noexcept {
  const auto step =
      static_cast<std::ptrdiff_t>(stride) * static_cast<std::ptrdiff_t>(sizeof(Element));
  if (stride == 1) {
    std::memcpy(to, from, count * sizeof(Element));
    return;
  }
  for (std::size_t i = 0; i < count; ++i)
    std::memcpy(to + i * sizeof(Element), from + static_cast<std::ptrdiff_t>(i) * step,
                sizeof(Element));
}

}  // namespace

std::size_t element_bytes(const ArrayView& array) {
  return array.format ? array.format->bytes() : sizeof(double);
}

Result<std::size_t> element_count(const ArrayView& array) {
  if (array.shape.size() > kMaxRank)
    return Error{Code::value_invalid, "an array has at most 32 dimensions", "shape", "",
                 std::to_string(array.shape.size())};
  if (!array.strides.empty() && array.strides.size() != array.shape.size())
    return Error{Code::value_invalid, "strides and shape differ in length", "strides",
                 std::to_string(array.shape.size()), std::to_string(array.strides.size())};
  std::uint64_t count = 1;
  for (const std::int64_t size : array.shape) {
    if (size < 0)
      return Error{Code::value_invalid, "a size is negative", "shape", "", std::to_string(size)};
    const auto product = checked_multiply(count, static_cast<std::uint64_t>(size));
    if (!product || *product > std::numeric_limits<std::int64_t>::max() / sizeof(double))
      return Error{Code::size_overflow, "the shape has more elements than memory can hold", "shape",
                   "", ""};
    count = *product;
  }
  return static_cast<std::size_t>(count);
}

bool is_contiguous(const ArrayView& array) {
  if (array.strides.empty()) return true;
  std::int64_t expected = 1;
  for (std::size_t axis = array.shape.size(); axis-- > 0;) {
    if (array.shape[axis] != 1 && array.strides[axis] != expected) return false;
    expected *= array.shape[axis];
  }
  return true;
}

void gather(const ArrayView& array, std::size_t begin, std::size_t count, void* to) noexcept {
  const std::size_t bytes = element_bytes(array);
  const auto* data = static_cast<const char*>(array.data);
  auto* out = static_cast<char*>(to);
  if (is_contiguous(array)) {
    std::memcpy(out, data + begin * bytes, count * bytes);
    return;
  }
  const std::size_t rank = array.shape.size();  // at least 1: other arrays are contiguous
  std::array<std::int64_t, kMaxRank> index = {};
  std::size_t rest = begin;
  for (std::size_t axis = rank; axis-- > 0;) {
    const auto size = static_cast<std::size_t>(array.shape[axis]);
    index[axis] = static_cast<std::int64_t>(rest % size);
    rest /= size;
  }
  const std::size_t last = rank - 1;
  while (count > 0) {
    std::int64_t offset = 0;
    for (std::size_t axis = 0; axis < rank; ++axis) offset += index[axis] * array.strides[axis];
    const char* from = data + offset * static_cast<std::int64_t>(bytes);
    const std::size_t run =
        std::min(count, static_cast<std::size_t>(array.shape[last] - index[last]));
    switch (bytes) {
      case 1:
        copy_run<std::uint8_t>(from, array.strides[last], run, out);
        break;
      case 2:
        copy_run<std::uint16_t>(from, array.strides[last], run, out);
        break;
      case 4:
        copy_run<std::uint32_t>(from, array.strides[last], run, out);
        break;
      default:
        copy_run<std::uint64_t>(from, array.strides[last], run, out);
        break;
    }
    out += run * bytes;
    count -= run;
    index[last] += static_cast<std::int64_t>(run);
    for (std::size_t axis = last; axis > 0 && index[axis] == array.shape[axis]; --axis) {
      index[axis] = 0;
      ++index[axis - 1];
    }
  }
}

}  // namespace ullage::formats
