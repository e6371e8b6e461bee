#include "ullage/attention/dense_mask.h"

#include <algorithm>
#include <utility>

namespace ullage::attention {

namespace {

class DenseMask {
 public:
  DenseMask(const View<const std::uint8_t>& mask, std::size_t batch, std::size_t queries,
            std::size_t keys)
      : mask_(mask), batch_(batch), queries_(queries), keys_(keys), row_(keys) {}

  // Every key that some query sees, and how far the farthest are on either side.
  MaskBand extent() {
    MaskBand band;
    band.keep.assign(batch_ * keys_, 0);
    for (std::size_t b = 0; b < batch_; ++b) {
      std::uint8_t* keep = band.keep.data() + b * keys_;
      for (std::size_t i = 0; i < queries_; ++i) {
        read(b, i);
        const auto seen = std::find(row_.begin(), row_.end(), 1);
        if (seen == row_.end()) continue;
        const auto last = std::find(row_.rbegin(), row_.rend(), 1).base() - 1;
        const auto distance = [&](auto cell) {
          return cell - row_.begin() - static_cast<std::ptrdiff_t>(i);
        };
        band.first = std::min(band.first.value_or(distance(seen)), distance(seen));
        band.last = std::max(band.last.value_or(distance(last)), distance(last));
        for (std::size_t j = 0; j < keys_; ++j) keep[j] |= row_[j];
      }
    }
    return band;
  }

  bool is(const MaskBand& band) {
    for (std::size_t b = 0; b < batch_; ++b) {
      const auto keep = band.keep.begin() + static_cast<std::ptrdiff_t>(b * keys_);
      for (std::size_t i = 0; i < queries_; ++i) {
        read(b, i);
        const auto all = static_cast<std::ptrdiff_t>(keys_);
        const auto at = static_cast<std::ptrdiff_t>(i);
        const auto begin = std::clamp<std::ptrdiff_t>(band.first ? at + *band.first : 0, 0, all);
        const auto end =
            std::clamp<std::ptrdiff_t>(band.last ? at + *band.last + 1 : all, begin, all);
        if (std::find(row_.begin(), row_.begin() + begin, 1) != row_.begin() + begin ||
            std::find(row_.begin() + end, row_.end(), 1) != row_.end() ||
            !std::equal(row_.begin() + begin, row_.begin() + end, keep + begin))
          return false;
      }
    }
    return true;
  }

 private:
  // One row as 0 and 1.
  void read(std::size_t b, std::size_t i) {
    for (std::size_t j = 0; j < keys_; ++j) row_[j] = mask_.at(b, 0, i, j) != 0 ? 1 : 0;
  }

  const View<const std::uint8_t>& mask_;
  std::size_t batch_, queries_, keys_;
  std::vector<std::uint8_t> row_;
};

}  // namespace

std::optional<MaskBand> band_of(const View<const std::uint8_t>& mask, std::size_t batch,
                                std::size_t queries, std::size_t keys) {
  DenseMask dense(mask, batch, queries, keys);
  MaskBand band = dense.extent();
  const auto [first, last] = std::pair(band.first, band.last);
  using Limits = std::pair<bool, bool>;
  for (const auto& [from, to] :
       {Limits{false, false}, Limits{false, true}, Limits{true, false}, Limits{true, true}}) {
    band.first = from ? first : std::nullopt;
    band.last = to ? last : std::nullopt;
    if (dense.is(band)) return band;
  }
  return std::nullopt;
}

}  // namespace ullage::attention
