#include "ullage/scan/result.h"

#include <algorithm>
#include <cmath>

namespace ullage::scan {

Figure::Figure(double value) {
  if (std::isfinite(value)) {
    value_ = value;
    known_ = true;
    why_.clear();
  } else {
    why_ = std::isnan(value) ? "not a number" : "beyond the range of double precision";
  }
}

Figure Figure::none(std::string why) {
  Figure figure;
  figure.why_ = std::move(why);
  return figure;
}

std::size_t ScanResult::heads() const {
  std::size_t count = 0;
  for (const LayerResult& layer : layers) count += layer.heads.size();
  return count;
}

Figure headroom_bits(const HeadResult& head, double format_max) {
  const HeadBounds& bounds = head.bounds;
  const Figure& logit =
      bounds.expected_before_cap.known() ? bounds.expected_before_cap : bounds.before_cap;
  if (!logit.known()) return Figure::none(logit.why());
  if (logit.value() == 0)
    return Figure::none(bounds.before_cap.value() == 0 ? "all weights zero"
                                                       : "the expected logit is zero");
  return {std::log2(format_max) - std::log2(logit.value())};
}

bool lacks_headroom(const HeadResult& head, double format_max, double least_bits) {
  if (!head.finite) return true;
  const Figure bits = headroom_bits(head, format_max);
  if (bits.known()) return bits.value() < least_bits;
  return head.bounds.before_cap.known() && head.bounds.before_cap.value() > format_max;
}

}  // namespace ullage::scan
