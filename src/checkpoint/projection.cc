#include "ullage/checkpoint/projection.h"

namespace ullage::checkpoint {
namespace {

template <class T>
Status read_any(const TensorStore& store, const Projection& projection, int head,
                std::span<T> out) {
  if (head < 0 || head >= projection.heads)
    return Error{Code::value_invalid, "no such head in this projection",
                 store.describe(*projection.weight), std::to_string(projection.heads) + " heads",
                 std::to_string(head)};
  if (out.size() != elements_of(projection))
    return Error{Code::value_invalid, "the output does not hold just this head",
                 store.describe(*projection.weight), std::to_string(elements_of(projection)),
                 std::to_string(out.size())};
  ULLAGE_ASSIGN(const WeightMatrix matrix,
                WeightMatrix::open(store, *projection.weight, projection.storage));
  return matrix.read(projection.first_row[static_cast<std::size_t>(head)],
                     static_cast<std::uint64_t>(projection.rows), out);
}

}  // namespace

std::size_t elements_of(const Projection& projection) {
  return static_cast<std::size_t>(projection.rows) * static_cast<std::size_t>(projection.width);
}

Status read_head(const TensorStore& store, const Projection& projection, int head,
                 std::span<float> out) {
  return read_any(store, projection, head, out);
}

Status read_head(const TensorStore& store, const Projection& projection, int head,
                 std::span<double> out) {
  return read_any(store, projection, head, out);
}

}  // namespace ullage::checkpoint
