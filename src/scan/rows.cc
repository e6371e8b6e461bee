#include "scan/rows.h"

#include <cmath>
#include <span>

#include "ullage/base/checked.h"
#include "ullage/spectrum/power_iteration.h"

namespace ullage::scan {
namespace {

using checkpoint::Projection;
using checkpoint::WeightMatrix;
using spectrum::Element;

std::size_t bytes_of(Element element) {
  switch (element) {
    case Element::bf16:
      return 2;
    case Element::f32:
      return 4;
    case Element::f64:
      return 8;
  }
  return 8;
}

// Rows [first, first + count) of a weight into `out`, as `element`.
Status read_rows(const WeightMatrix& matrix, std::uint64_t first, std::uint64_t count,
                 Element element, std::byte* out) {
  const std::size_t length = static_cast<std::size_t>(count * matrix.inputs());
  switch (element) {
    case Element::bf16:
      return matrix.read_bf16(first, count, {reinterpret_cast<std::uint16_t*>(out), length});
    case Element::f32:
      return matrix.read(first, count, std::span<float>{reinterpret_cast<float*>(out), length});
    case Element::f64:
      return matrix.read(first, count, std::span<double>{reinterpret_cast<double*>(out), length});
  }
  return {};
}

// Heads one after the other in storage: the whole projection is one read, which for transposed
// storage walks the file once instead of once a head.
bool consecutive(const Projection& projection) {
  for (int head = 0; head < projection.heads; ++head)
    if (projection.first_row[static_cast<std::size_t>(head)] !=
        projection.first_row[0] +
            static_cast<std::uint64_t>(head) * static_cast<std::uint64_t>(projection.rows))
      return false;
  return true;
}

}  // namespace

Status LayerRows::add(const checkpoint::Container& container, Part part,
                      std::initializer_list<const Projection*> stacked) {
  PartState& state = part_of(part);
  bool all_bf16 = true;
  bool any_f64 = false;
  for (const Projection* projection : stacked) {
    ULLAGE_ASSIGN(WeightMatrix matrix,
                  WeightMatrix::open(container.store, *projection->weight, projection->storage));
    all_bf16 = all_bf16 && matrix.stored_bf16();
    any_f64 = any_f64 || matrix.tensor().dtype == checkpoint::Dtype::f64;
    state.heads = projection->heads;
    state.width = projection->width;
    state.rows += projection->rows;
    state.stacked.push_back({projection, std::move(matrix)});
  }
  state.element = all_bf16 ? Element::bf16 : any_f64 ? Element::f64 : Element::f32;
  state.head_bytes = static_cast<std::size_t>(state.rows) * static_cast<std::size_t>(state.width) *
                     bytes_of(state.element);
  return {};
}

Status LayerRows::read_head(const PartState& state, int head, std::byte* out) {
  for (const Piece& piece : state.stacked) {
    const Projection& projection = *piece.projection;
    const auto count = static_cast<std::uint64_t>(projection.rows);
    ULLAGE_TRY(read_rows(*piece.matrix, projection.first_row[static_cast<std::size_t>(head)], count,
                         state.element, out));
    out += count * static_cast<std::uint64_t>(state.width) * bytes_of(state.element);
  }
  return {};
}

Status LayerRows::hold(PartState& state, Job& job, RowBuffer& buffer) {
  std::byte* out = buffer.reserve(state.head_bytes * static_cast<std::size_t>(state.heads));
  state.held = out;
  const Projection& first = *state.stacked[0].projection;
  if (state.stacked.size() == 1 && first.storage.layout == checkpoint::Layout::in_out &&
      consecutive(first))
    return read_rows(
        *state.stacked[0].matrix, first.first_row[0],
        static_cast<std::uint64_t>(state.heads) * static_cast<std::uint64_t>(state.rows),
        state.element, out);
  std::vector<Status> outcome(static_cast<std::size_t>(state.heads));
  job.each(outcome.size(), [&](std::size_t head, int) {
    outcome[head] = read_head(state, static_cast<int>(head), out + head * state.head_bytes);
  });
  for (Status& status : outcome) ULLAGE_TRY(std::move(status));
  return {};
}

// The exact layer figure wants all heads at once, and one head of a transposed matrix is spread over all of its bytes.
std::size_t LayerRows::bytes_worth_holding(const checkpoint::AttentionLayer& layer) const {
  std::size_t total = 0;
  bool transposed = false;
  for (const Part part : {Part::query, Part::key}) {
    const PartState& state = part_of(part);
    total += state.head_bytes * static_cast<std::size_t>(state.heads);
    for (const Piece& piece : state.stacked)
      transposed = transposed || piece.projection->storage.layout == checkpoint::Layout::in_out;
  }
  const bool exact = spectrum::concatenates_exactly(static_cast<std::size_t>(layer.query_heads),
                                                    part_of(Part::query).rows);
  return (exact || transposed) && total <= kHeldBytes ? total : 0;
}

Status LayerRows::add_parts(const checkpoint::Container& container,
                            const checkpoint::AttentionLayer& layer) {
  if (layer.latent) {
    ULLAGE_TRY(add(container, Part::query, {&layer.query, &layer.latent->query_rope}));
    ULLAGE_TRY(add(container, Part::key_rope, {&layer.latent->key_rope}));
  } else {
    ULLAGE_TRY(add(container, Part::query, {&layer.query}));
  }
  ULLAGE_TRY(add(container, Part::key, {&layer.key}));
  return add(container, Part::value, {&layer.value});
}

std::size_t LayerRows::held_bytes(const checkpoint::Container& container,
                                  const checkpoint::AttentionLayer& layer) {
  LayerRows rows;
  return rows.add_parts(container, layer).ok() ? rows.bytes_worth_holding(layer) : 0;
}

Result<LayerRows> LayerRows::open(const checkpoint::Container& container,
                                  const checkpoint::AttentionLayer& layer, Job& job,
                                  RowBuffers& buffers) {
  LayerRows rows;
  rows.buffers_ = &buffers;
  ULLAGE_TRY(rows.add_parts(container, layer));
  if (rows.bytes_worth_holding(layer) > 0) {
    auto& held = buffers.held[job.index() % buffers.held.size()];
    for (const Part part : {Part::query, Part::key})
      ULLAGE_TRY(hold(rows.part_of(part), job, held[static_cast<std::size_t>(part)]));
  }
  return rows;
}

Result<spectrum::HeadRows> LayerRows::rows(Part part, int head, int worker) {
  PartState& state = part_of(part);
  spectrum::HeadRows view;
  view.element = state.element;
  view.rows = state.rows;
  view.width = state.width;
  view.stride = state.width;
  if (state.held != nullptr) {
    view.values = state.held + static_cast<std::size_t>(head) * state.head_bytes;
    return view;
  }
  RowBuffers::Scratch& scratch =
      buffers_->scratch[static_cast<std::size_t>(worker)][static_cast<std::size_t>(part)];
  std::byte* const bytes = scratch.buffer.reserve(state.head_bytes);
  const Projection* const projection = state.stacked[0].projection;
  if (scratch.projection != projection || scratch.head != head) {
    scratch.projection = nullptr;
    ULLAGE_TRY(read_head(state, head, bytes));
    scratch.projection = projection;
    scratch.head = head;
  }
  view.values = bytes;
  return view;
}

std::uint64_t count_not_finite(const spectrum::HeadRows& rows) {
  std::uint64_t count = 0;
  const auto each = [&](auto finite) {
    for (int i = 0; i < rows.rows; ++i)
      for (int j = 0; j < rows.width; ++j)
        count += !finite(static_cast<std::size_t>(i) * static_cast<std::size_t>(rows.stride) +
                         static_cast<std::size_t>(j));
  };
  switch (rows.element) {
    case Element::bf16:
      each([v = static_cast<const std::uint16_t*>(rows.values)](std::size_t at) {
        return (v[at] & 0x7F80) != 0x7F80;
      });
      break;
    case Element::f32:
      each([v = static_cast<const float*>(rows.values)](std::size_t at) {
        return std::isfinite(v[at]);
      });
      break;
    case Element::f64:
      each([v = static_cast<const double*>(rows.values)](std::size_t at) {
        return std::isfinite(v[at]);
      });
      break;
  }
  return count;
}

}  // namespace ullage::scan
