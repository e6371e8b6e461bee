// The rows of one layer's heads, read from the checkpoint one head at a time, so that they are used while they are in
// cache and memory stays bounded; all of a layer only where it is small or stored transposed.
#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <optional>
#include <vector>

#include "ullage/base/parallel.h"
#include "ullage/base/result.h"
#include "ullage/checkpoint/attention.h"
#include "ullage/checkpoint/container.h"
#include "ullage/spectrum/gram.h"

namespace ullage::scan {

// key_rope is the rotary key of latent attention, one head for all; query holds that layer's rope
// rows below its others.
enum class Part : std::uint8_t { query, key, value, key_rope };
inline constexpr std::size_t kParts = 4;

// Bytes that are not cleared, kept from one layer to another.
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

 private:
  std::unique_ptr<std::byte[]> bytes_;
  std::size_t capacity_ = 0;
};

// One a scan: what LayerRows reads into.
struct RowBuffers {
  struct Scratch {
    RowBuffer buffer;  // with the rows of ...
    const checkpoint::Projection* projection = nullptr;
    int head = -1;
  };
  RowBuffers(int threads, int layers)
      : held(static_cast<std::size_t>(layers)), scratch(static_cast<std::size_t>(threads)) {}
  std::vector<std::array<RowBuffer, kParts>> held;   // one a layer in flight
  std::vector<std::array<Scratch, kParts>> scratch;  // one a worker
};

class LayerRows {
 public:
  // Q and K of a layer are held where that helps, while they take at most this many bytes.
  static constexpr std::size_t kHeldBytes = std::size_t{144} << 20;

  // In `buffers` for as many layers as the jobs of the run that are in flight at once.
  static Result<LayerRows> open(const checkpoint::Container& container,
                                const checkpoint::AttentionLayer& layer, Job& job,
                                RowBuffers& buffers);
  // Bytes of a layer that open() holds; 0 too where it fails.
  static std::size_t held_bytes(const checkpoint::Container& container,
                                const checkpoint::AttentionLayer& layer);

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
  };

  Status add_parts(const checkpoint::Container& container, const checkpoint::AttentionLayer& layer);
  Status add(const checkpoint::Container& container, Part part,
             std::initializer_list<const checkpoint::Projection*> stacked);
  [[nodiscard]] std::size_t bytes_worth_holding(const checkpoint::AttentionLayer& layer) const;
  static Status hold(PartState& state, Job& job, RowBuffer& buffer);
  static Status read_head(const PartState& state, int head, std::byte* out);
  [[nodiscard]] PartState& part_of(Part part) { return parts_[static_cast<std::size_t>(part)]; }
  [[nodiscard]] const PartState& part_of(Part part) const {
    return parts_[static_cast<std::size_t>(part)];
  }

  std::array<PartState, kParts> parts_;
  RowBuffers* buffers_ = nullptr;
};

// NaN and infinite values among the rows of a head.
std::uint64_t count_not_finite(const spectrum::HeadRows& rows);

}  // namespace ullage::scan
