// The public casts: arguments checked, then one job.
#include "ullage/formats/cast.h"

#include <algorithm>
#include <array>
#include <string>

#include "formats/chunks.h"
#include "formats/decode.h"
#include "formats/gather.h"
#include "formats/reader.h"
#include "ullage/formats/scalar.h"

namespace ullage::formats {
namespace {

Status check_arrays(const Format& format, std::size_t code_bytes, std::size_t codes,
                    std::size_t values) {
  ULLAGE_TRY(check_format(format));
  if (format.bytes() != code_bytes)
    return Error{Code::dtype_unsupported, "codes of this format take another integer type",
                 std::string(format.label()), std::to_string(format.bytes()) + " bytes",
                 std::to_string(code_bytes) + " bytes"};
  if (codes != values)
    return Error{Code::size_mismatch, "source and destination differ in length", "codes",
                 std::to_string(values) + " elements", std::to_string(codes) + " elements"};
  return {};
}

template <class CodeType>
Status decode_codes(const Format& format, std::span<const CodeType> codes,
                    std::span<float> values) {
  ULLAGE_TRY(check_arrays(format, sizeof(CodeType), codes.size(), values.size()));
  const ScopedDefaultEnvironment environment;
  Decoder(format, cpu_path()).run(codes.data(), codes.size(), values.data());
  return {};
}

template <class CodeType>
Status decode_codes(const Format& format, std::span<const CodeType> codes,
                    std::span<double> values) {
  ULLAGE_TRY(check_arrays(format, sizeof(CodeType), codes.size(), values.size()));
  const ScopedDefaultEnvironment environment;
  const Decoder decoder(format, cpu_path());
  std::array<float, kBlock> block;
  for (std::size_t at = 0; at < codes.size(); at += kBlock) {
    const std::size_t count = std::min(kBlock, codes.size() - at);
    decoder.run(codes.data() + at, count, block.data());
    std::copy_n(block.begin(), count, values.begin() + static_cast<std::ptrdiff_t>(at));
  }
  return {};
}

Result<CastCounts> cast_view(const ArrayView& source, const Format& to, void* codes, float* values,
                             const CastOptions& options) {
  ULLAGE_TRY(check_format(to));
  if (source.format) ULLAGE_TRY(check_format(*source.format));
  ULLAGE_ASSIGN(const std::size_t count, element_count(source));
  const CpuPath path = cpu_path();
  const Reader reader(source, path);
  const RunCaster caster(to, options, path);
  const Decoder decoder(to, path);
  const std::size_t bytes = to.bytes();
  const std::size_t moved = element_bytes(source) + (values != nullptr ? sizeof(float) : bytes);
  const bool stream = count * moved >= kStreamBytes;
  const auto block = [&](std::size_t first, std::size_t length) {
    alignas(64) std::array<std::uint32_t, kBlock> code_buffer;
    char* result = codes == nullptr ? nullptr : static_cast<char*>(codes) + first * bytes;
    void* target = values == nullptr && !stream ? static_cast<void*>(result) : code_buffer.data();
    CastCounts counts;
    if (reader.is_fp64()) {
      std::array<double, kBlock> doubles;
      reader.read_doubles(first, length, doubles.data());
      counts = caster.cast(doubles.data(), length, first, target);
    } else {
      alignas(64) std::array<float, kBlock> floats;
      counts = caster.cast(reader.read(first, length, floats.data()), length, first, target);
    }
    if (values != nullptr)
      decoder.run(target, length, values + first);
    else if (stream)
      stream_copy(result, target, length * bytes);
    return counts;
  };
  return in_chunks(count, kChunk, options.threads, [&](std::size_t begin, std::size_t end) {
    CastCounts counts;
    for (std::size_t at = begin; at < end; at += kBlock)
      add(counts, block(at, std::min(kBlock, end - at)));
    return counts;
  });
}

template <class Value, class CodeType>
Result<CastCounts> cast_span(std::span<const Value> values, const Format& to,
                             std::span<CodeType> codes, const CastOptions& options) {
  ULLAGE_TRY(check_arrays(to, sizeof(CodeType), codes.size(), values.size()));
  const std::int64_t shape[] = {static_cast<std::int64_t>(values.size())};
  const bool fp32 = sizeof(Value) == sizeof(float);
  const ArrayView source = {.data = values.data(),
                            .format = fp32 ? std::optional<Format>(kFp32) : std::nullopt,
                            .shape = shape,
                            .strides = {}};
  return cast(source, to, codes.data(), options);
}

}  // namespace

Status decode(const Format& f, std::span<const std::uint8_t> c, std::span<float> v) {
  return decode_codes(f, c, v);
}
Status decode(const Format& f, std::span<const std::uint16_t> c, std::span<float> v) {
  return decode_codes(f, c, v);
}
Status decode(const Format& f, std::span<const std::uint32_t> c, std::span<float> v) {
  return decode_codes(f, c, v);
}
Status decode(const Format& f, std::span<const std::uint8_t> c, std::span<double> v) {
  return decode_codes(f, c, v);
}
Status decode(const Format& f, std::span<const std::uint16_t> c, std::span<double> v) {
  return decode_codes(f, c, v);
}
Status decode(const Format& f, std::span<const std::uint32_t> c, std::span<double> v) {
  return decode_codes(f, c, v);
}

Result<CastCounts> cast(const ArrayView& source, const Format& to, void* codes,
                        const CastOptions& options) {
  return cast_view(source, to, codes, nullptr, options);
}

Result<CastCounts> cast_to_values(const ArrayView& source, const Format& to, float* values,
                                  const CastOptions& options) {
  return cast_view(source, to, nullptr, values, options);
}

#define ULLAGE_CAST(Value, CodeType)                                                        \
  Result<CastCounts> cast(std::span<const Value> v, const Format& f, std::span<CodeType> c, \
                          const CastOptions& o) {                                           \
    return cast_span(v, f, c, o);                                                           \
  }
ULLAGE_CAST(float, std::uint8_t)
ULLAGE_CAST(float, std::uint16_t)
ULLAGE_CAST(float, std::uint32_t)
ULLAGE_CAST(double, std::uint8_t)
ULLAGE_CAST(double, std::uint16_t)
ULLAGE_CAST(double, std::uint32_t)
#undef ULLAGE_CAST

}  // namespace ullage::formats
