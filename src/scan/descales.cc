// Descales of a layer: the largest of its heads, for one format.
#include "scan/layer.h"
#include "ullage/scaling/descale.h"

namespace ullage::scan {
namespace {

// The largest of a figure over the heads; without it for one head there is none for the layer.
template <class Get>
Figure largest(const LayerResult& layer, Get get) {
  Figure most = Figure::none("no heads");
  for (const HeadResult& head : layer.heads) {
    const Figure figure = get(head);
    if (!figure.known()) return figure;
    if (!most.known() || figure.value() > most.value()) most = figure;
  }
  return most;
}

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
    pair.certificate = descale_of(largest(layer, certificate), format);
    pair.expected = descale_of(largest(layer, expected), format);
  };
  fill(
      layer.descale_logits,
      [](const HeadResult& h) { return with_bias(h.bounds.before_cap, h.bounds); },
      [](const HeadResult& h) { return with_bias(h.bounds.expected_before_cap, h.bounds); });
  fill(
      layer.descale_query, [](const HeadResult& h) { return h.amax_query; },
      [](const HeadResult& h) { return h.amax_expected_query; });
  fill(
      layer.descale_key, [](const HeadResult& h) { return h.amax_key; },
      [](const HeadResult& h) { return h.amax_expected_key; });
  fill(
      layer.descale_value, [](const HeadResult& h) { return h.amax_value; },
      [](const HeadResult& h) { return h.amax_expected_value; });
}

}  // namespace ullage::scan
