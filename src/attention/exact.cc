#include "attention/exact.h"

#include <algorithm>
#include <cmath>

#include "attention/elementary.h"

namespace ullage::attention {

ExactHead::ExactHead(Head<float>& head)
    : head_(head),
      values_(head.values().begin(), head.values().end()),
      key_rows_(head.keys().begin(), head.keys().end()),
      query_(head.width()),
      scores_(head.sequence().keys),
      weights_(head.sequence().keys),
      value_product_({}, head.value_width()),
      key_product_({}, head.width()) {
  for (double& value : values_) value *= head.value_descale();
  value_sizes_ = values_;
  for (double& value : value_sizes_) value = std::fabs(value);
}

ExactRow ExactHead::row(std::size_t query) {
  const std::size_t keys = scores_.size();
  ExactRow out;
  out.output.resize(head_.value_width());
  out.sizes.resize(head_.value_width());
  out.keys.resize(head_.width());
  head_.read_queries(query, 1, query_.data());
  head_.scores({query, 1, 0, keys}, query_.data(), scores_.data(), nullptr);
  double top = -std::numeric_limits<double>::infinity();
  double second = top;
  for (const float score : scores_) {
    const auto s = static_cast<double>(score);
    if (score == Head<float>::kMasked) continue;
    second = std::max(second, std::min(s, top));
    if (s == top) second = top;
    out.statistics.repeats = s > top ? 1 : out.statistics.repeats + (s == top ? 1 : 0);
    top = std::max(top, s);
    ++out.statistics.keys;
  }
  out.statistics.maximum = top;
  out.statistics.second = second;
  out.log_sum_exp = top;
  if (out.statistics.keys == 0) return out;
  double tail = -1;  // one maximum's own 1 stays apart: it is met first or later, and added last
  double others = 0;
  for (std::size_t j = 0; j < keys; ++j) {
    const auto s = static_cast<double>(scores_[j]);
    weights_[j] = exp_of(s - top);
    (s == top ? tail : others) += weights_[j];
  }
  out.statistics.tail = tail + others;
  const double sum = 1 + out.statistics.tail;
  out.log_sum_exp = top + log_of(sum);
  for (double& weight : weights_) weight /= sum;
  value_product_({weights_.data(), keys, 1}, {values_.data(), head_.value_width()}, 1, keys,
                 head_.value_width(), Zeros::skip, out.output.data());
  value_product_({weights_.data(), keys, 1}, {value_sizes_.data(), head_.value_width()}, 1, keys,
                 head_.value_width(), Zeros::skip, out.sizes.data());
  key_product_({weights_.data(), keys, 1}, {key_rows_.data(), head_.width()}, 1, keys,
               head_.width(), Zeros::skip, out.keys.data());
  return out;
}

}  // namespace ullage::attention
