#include "formats/reader.h"

#include <algorithm>
#include <array>

#include "formats/gather.h"

namespace ullage::formats {

Reader::Reader(const ArrayView& source, CpuPath path)
    : source_(source),
      contiguous_(is_contiguous(source)),
      decoder_(source.format.value_or(kFp32), path) {}

const float* Reader::read(std::size_t first, std::size_t count, float* buffer) const noexcept {
  if (!source_.format) {
    std::array<double, kBlock> doubles;
    read_doubles(first, count, doubles.data());
    std::copy_n(doubles.begin(), count, buffer);
    return buffer;
  }
  const Format& format = *source_.format;
  if (contiguous_) {
    const auto* data = static_cast<const char*>(source_.data) + first * format.bytes();
    if (format == kFp32) return reinterpret_cast<const float*>(data);
    decoder_.run(data, count, buffer);
  } else if (format == kFp32) {
    gather(source_, first, count, buffer);
  } else {
    std::array<std::uint32_t, kBlock> codes;
    gather(source_, first, count, codes.data());
    decoder_.run(codes.data(), count, buffer);
  }
  return buffer;
}

void Reader::read_doubles(std::size_t first, std::size_t count, double* buffer) const noexcept {
  gather(source_, first, count, buffer);
}

}  // namespace ullage::formats
