// Descales of a layer: the largest of its heads, for one format.
#include "scan/layer.h"
#include "scan/layer_amax.h"
#include "ullage/scaling/descale.h"

namespace ullage::scan {
namespace {

Figure descale_of(const Figure& bound, const formats::Format& format) {
  if (!bound.known()) return bound;
  scaling::DescaleRule rule;
  rule.target = format;
  const Result<double> descale = scaling::descale(bound.value(), rule);
  return descale.ok() ? Figure(*descale) : Figure::none(descale.error().what);
}

Figure with_bias(const Figure& logit, const HeadBounds& bounds) {
  if (!logit.known() || !bounds.additive_bias.known())
    return logit.known() ? bounds.additive_bias : logit;
  return {logit.value() + bounds.additive_bias.value()};
}

}  // namespace

void fill_descales(const formats::Format& format, LayerResult& layer) {
  const auto fill = [&](DescalePair& pair, auto certificate, auto expected) {
    pair.certificate = descale_of(largest_of_heads(layer, certificate), format);
    pair.expected = descale_of(largest_of_heads(layer, expected), format);
  };
  fill(
      layer.descale_logits,
      [](const HeadResult& h) { return with_bias(h.bounds.before_cap, h.bounds); },
      [](const HeadResult& h) { return with_bias(h.bounds.expected_before_cap, h.bounds); });
  DescalePair LayerResult::* const pairs[] = {
      &LayerResult::descale_query, &LayerResult::descale_key, &LayerResult::descale_value};
  for (std::size_t i = 0; i < kTensorAmax.size(); ++i)
    fill(layer.*pairs[i], kTensorAmax[i].certificate, kTensorAmax[i].expected);
}

}  // namespace ullage::scan
