// Every tensor of a checkpoint by name, over one file or a sharded set, and thread-safe reads of
// their bytes by pread. No tensor is held in memory; what the numbers mean is in weights.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "ullage/base/result.h"
#include "ullage/checkpoint/header.h"
#include "ullage/checkpoint/locate.h"

namespace ullage::checkpoint {

class TensorStore {
 public:
  // Opens and checks every file of the set. With an index, its weight_map decides what belongs to
  // the checkpoint and from which shard each tensor comes; every tensor of the map must exist
  // there.
  // Codes: not_found, not_readable, resource (no file can be opened), format_refused (another format
  // by its first bytes), those of header.h; with an index index_invalid, duplicate_key, path_escape
  // and tensor_missing.
  static Result<TensorStore> open(const Location& location);

  TensorStore(TensorStore&&) noexcept;
  TensorStore& operator=(TensorStore&&) noexcept;
  ~TensorStore();

  const TensorInfo* find(std::string_view name) const;         // nullptr when absent; O(1)
  Result<const TensorInfo*> get(std::string_view name) const;  // tensor_missing when absent
  std::span<const TensorInfo> tensors() const;  // by file, then by position; stable between runs

  // Fills `out` with the tensor's bytes from `offset` on. Any number of threads may read at once.
  // Codes: value_invalid (a range outside the tensor), not_found, not_readable (also a file that was
  // replaced or cut short since open) and resource.
  Status read(const TensorInfo& tensor, std::uint64_t offset, std::span<std::byte> out) const;

  std::uint64_t bytes_read() const;  // of tensor data, so far
  std::size_t files() const;
  // For messages: the path relative to the folder.
  const std::string& file_name(std::uint32_t file) const;
  // "model.safetensors: NAME", for Error::where.
  std::string describe(const TensorInfo& tensor) const;

 private:
  struct State;
  explicit TensorStore(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace ullage::checkpoint
