// The header of one safetensors file: bytes that nobody vouches for, turned into checked tensors.
//
// A file is 8 bytes of little-endian length N, N bytes of JSON, and a data section that the tensors
// cover exactly: no hole, no overlap, nothing behind the last one.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "ullage/base/result.h"
#include "ullage/checkpoint/dtype.h"

namespace ullage::checkpoint {

inline constexpr std::uint64_t kMaxHeaderBytes = 100'000'000;  // the reference reader's cap
inline constexpr std::uint32_t kMaxRank = 8;  // weights have 1 to 5; bounds memory by the header

// One tensor of a file. The views point into the Header (or TensorStore) that owns them.
struct TensorInfo {
  std::string_view name;                 // untrusted text of any length, escape before showing
  std::span<const std::uint64_t> shape;  // empty: a scalar
  std::uint64_t begin = 0;               // from the start of the file
  std::uint64_t bytes = 0;               // exactly what shape and dtype need
  std::uint32_t file = 0;                // index into the store's files
  Dtype dtype = Dtype::f32;

  std::uint64_t elements() const { return bytes * 8 / bits_of(dtype); }
};

// "[4096, 1024]"
std::string shape_text(std::span<const std::uint64_t> shape);

// The checked tensors of one file in the order of their data. Movable; the views stay valid.
class Header {
 public:
  Header(Header&&) noexcept;
  Header& operator=(Header&&) noexcept;
  ~Header();

  std::span<const TensorInfo> tensors() const;
  const TensorInfo* find(std::string_view name) const;  // nullptr when absent

  struct State;  // private to the room

 private:
  friend Result<Header> parse_header(std::string, std::uint64_t, const std::string&, std::uint32_t);
  explicit Header(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// Checks `json`, the N bytes after the length, against a file of `file_bytes` bytes in all. `where`
// names the file in errors, `file` goes into every TensorInfo. Time is linear (n log n if the
// header lists tensors out of order); memory beyond `json` is at most three times its length.
// Codes: header_too_large, header_invalid, duplicate_key, dtype_unsupported, offset_invalid,
// size_overflow, size_mismatch.
Result<Header> parse_header(std::string json, std::uint64_t file_bytes, const std::string& where,
                            std::uint32_t file = 0);

// The length in the first 8 bytes (little endian), checked against the cap and the file:
// header_too_small, header_too_large.
Result<std::uint64_t> header_length(std::span<const unsigned char> start, std::uint64_t file_bytes,
                                    const std::string& where);

}  // namespace ullage::checkpoint
