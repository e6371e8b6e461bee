// The rows of one layer's heads, read from the checkpoint one head at a time, so that they are used while they are in
// cache and memory stays bounded; all of a layer only where it is small or stored transposed.
#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <optional>
#include <vector>

#include "ullage/base/result.h"
#include "ullage/checkpoint/attention.h"
#include "ullage/checkpoint/container.h"
#include "ullage/spectrum/gram.h"

namespace ullage::scan {

// key_rope is the rotary key of latent attention, one head for all; query holds that layer's rope
// rows below its others.
enum class Part : std::uint8_t { query, key, value, key_rope };
inline constexpr std::size_t kParts = 4;

// Bytes that are not cleared, kept from one layer to the next.
class RowBuffer {
 public:
  // At least `bytes`, of unknown content.
  std::byte* reserve(std::size_t bytes) {
    if (bytes > capacity_) {
      bytes_ = std::make_unique_for_overwrite<std::byte[]>(bytes);
      capacity_ = bytes;
    }
    return bytes_.get();
  }
  [[nodiscard]] const std::byte* data() const { return bytes_.get(); }

 private:
  std::unique_ptr<std::byte[]> bytes_;
  std::size_t capacity_ = 0;
};

// One a scan: what LayerRows reads into.
struct RowBuffers {
  std::array<RowBuffer, kParts> held;
  std::array<std::vector<RowBuffer>, kParts> scratch;  // one a worker
};

class LayerRows {
 public:
  // Q and K of a layer are held where that helps, while they take at most this many bytes.
  static constexpr std::size_t kHeldBytes = std::size_t{144} << 20;

  static Result<LayerRows> open(const checkpoint::Container& container,
                                const checkpoint::AttentionLayer& layer, int threads,
                                RowBuffers& buffers);

  [[nodiscard]] bool has(Part part) const { return !part_of(part).stacked.empty(); }
  [[nodiscard]] int heads(Part part) const { return part_of(part).heads; }
  // Rows of Q and K stay where they are until this object goes.
  [[nodiscard]] bool held() const { return part_of(Part::query).held != nullptr; }

  // One head's rows as stored: no gain, no projection. Valid until the next call with the same part
  // and worker.
  Result<spectrum::HeadRows> rows(Part part, int head, int worker);

 private:
  struct Piece {  // consecutive rows of a head
    const checkpoint::Projection* projection = nullptr;
    std::optional<checkpoint::WeightMatrix> matrix;
  };
  struct PartState {
    std::vector<Piece> stacked;
    spectrum::Element element = spectrum::Element::f32;
    int heads = 0;
    int rows = 0;
    int width = 0;
    std::size_t head_bytes = 0;
    const std::byte* held = nullptr;  // of the buffers; null: read again each time
    RowBuffer* held_buffer = nullptr;
    std::vector<RowBuffer>* scratch = nullptr;  // one a worker, with ...
    std::vector<int> scratch_head;              // ... the head it holds, -1 at first
  };

  Status add(const checkpoint::Container& container, Part part,
             std::initializer_list<const checkpoint::Projection*> stacked);
  [[nodiscard]] bool worth_holding(const checkpoint::AttentionLayer& layer) const;
  static Status hold(PartState& state, int threads);
  static Status read_head(const PartState& state, int head, std::byte* out);
  [[nodiscard]] PartState& part_of(Part part) { return parts_[static_cast<std::size_t>(part)]; }
  [[nodiscard]] const PartState& part_of(Part part) const {
    return parts_[static_cast<std::size_t>(part)];
  }

  std::array<PartState, kParts> parts_;
};

// NaN and infinite values among the rows of a head.
std::uint64_t count_not_finite(const spectrum::HeadRows& rows);

}  // namespace ullage::scan
