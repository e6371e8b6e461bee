// Reading the weights of a projection: runs of heads that lie side by side become one read.
#include "ullage/checkpoint/projection.h"

namespace ullage::checkpoint {
namespace {

Status read_rows(const WeightMatrix& matrix, std::uint64_t first, std::uint64_t count,
                 std::span<float> out) {
  return matrix.read(first, count, out);
}
Status read_rows(const WeightMatrix& matrix, std::uint64_t first, std::uint64_t count,
                 std::span<double> out) {
  return matrix.read(first, count, out);
}
Status read_rows(const WeightMatrix& matrix, std::uint64_t first, std::uint64_t count,
                 std::span<std::uint16_t> out) {
  return matrix.read_bf16(first, count, out);
}

template <class T>
Status read_any(const TensorStore& store, const Projection& projection, int first, int count,
                std::span<T> out) {
  if (first < 0 || count < 1 || first > projection.heads - count)
    return Error{Code::value_invalid, "no such heads in this projection",
                 store.describe(*projection.weight), std::to_string(projection.heads) + " heads",
                 std::to_string(first) + " to " + std::to_string(first + count - 1)};
  if (out.size() != elements_of(projection, count))
    return Error{Code::value_invalid, "the output does not hold just these heads",
                 store.describe(*projection.weight), std::to_string(elements_of(projection, count)),
                 std::to_string(out.size())};
  ULLAGE_ASSIGN(const WeightMatrix matrix,
                WeightMatrix::open(store, *projection.weight, projection.storage));
  const std::uint64_t rows = static_cast<std::uint64_t>(projection.rows);
  for (int head = first; head < first + count;) {
    int end = head + 1;
    while (end < first + count && projection.first_row[end] == projection.first_row[end - 1] + rows)
      ++end;
    const std::size_t at = elements_of(projection, head - first);
    ULLAGE_TRY(read_rows(matrix, projection.first_row[head], rows * (end - head),
                         out.subspan(at, elements_of(projection, end - head))));
    head = end;
  }
  return {};
}

}  // namespace

std::size_t elements_of(const Projection& projection, int count) {
  return static_cast<std::size_t>(count) * projection.rows * projection.width;
}

Status read_head(const TensorStore& store, const Projection& projection, int head,
                 std::span<float> out) {
  return read_any(store, projection, head, 1, out);
}

Status read_head(const TensorStore& store, const Projection& projection, int head,
                 std::span<double> out) {
  return read_any(store, projection, head, 1, out);
}

Status read_heads(const TensorStore& store, const Projection& projection, int first, int count,
                  std::span<float> out) {
  return read_any(store, projection, first, count, out);
}

Status read_heads(const TensorStore& store, const Projection& projection, int first, int count,
                  std::span<double> out) {
  return read_any(store, projection, first, count, out);
}

bool can_read_bf16(const Projection& projection) { return projection.weight->dtype == Dtype::bf16; }

Status read_heads_bf16(const TensorStore& store, const Projection& projection, int first, int count,
                       std::span<std::uint16_t> out) {
  return read_any(store, projection, first, count, out);
}

}  // namespace ullage::checkpoint
