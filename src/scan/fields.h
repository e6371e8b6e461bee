// The figures of a head, a layer and their groups by the names that the JSON and CSV reports give
// them. Those two take the names from here alone. The page has titles for people, and `ullage
// explain` a sentence for each name, in tables of their own.
#pragma once

#include <array>

#include "ullage/scan/result.h"

namespace ullage::scan {

template <class Owner>
struct Field {
  const char* name;
  Figure Owner::* figure;
};

inline constexpr std::array<Field<HeadResult>, 6> kSpectrumFields = {{
    {"sigma_weights", &HeadResult::sigma_weights},
    {"sigma", &HeadResult::sigma},
    {"sigma_q", &HeadResult::sigma_query},
    {"sigma_k", &HeadResult::sigma_key},
    {"frobenius", &HeadResult::frobenius},
    {"stable_rank", &HeadResult::stable_rank},
}};

inline constexpr std::array<Field<HeadBounds>, 8> kCertificateFields = {{
    {"naive", &HeadBounds::naive},
    {"interaction", &HeadBounds::interaction},
    {"augmented", &HeadBounds::augmented},
    {"rope", &HeadBounds::rope},
    {"qk_norm", &HeadBounds::qk_norm},
    {"clip", &HeadBounds::clip},
    {"latent", &HeadBounds::latent},
    {"certificate", &HeadBounds::certificate},
}};

inline constexpr std::array<Field<HeadBounds>, 2> kCapFields = {{
    {"before_cap", &HeadBounds::before_cap},
    {"additive_bias", &HeadBounds::additive_bias},
}};

inline constexpr std::array<Field<HeadBounds>, 2> kRoundedFields = {{
    {"bf16", &HeadBounds::certificate_bf16},
    {"e4m3", &HeadBounds::certificate_e4m3},
}};

inline constexpr std::array<Field<HeadBounds>, 5> kExpectedFields = {{
    {"rank_aware", &HeadBounds::rank_aware},
    {"rank_agnostic", &HeadBounds::rank_agnostic},
    {"expected_off_diagonal", &HeadBounds::expected_off_diagonal},
    {"expected_diagonal", &HeadBounds::expected_diagonal},
    {"expected", &HeadBounds::expected},
}};

inline constexpr std::array<Field<HeadResult>, 3> kAmaxFields = {{
    {"q", &HeadResult::amax_query},
    {"k", &HeadResult::amax_key},
    {"v", &HeadResult::amax_value},
}};

inline constexpr std::array<Field<HeadResult>, 2> kAmaxProjectionFields = {{
    {"q", &HeadResult::amax_projection_query},
    {"k", &HeadResult::amax_projection_key},
}};

inline constexpr std::array<Field<HeadResult>, 3> kAmaxExpectedFields = {{
    {"q", &HeadResult::amax_expected_query},
    {"k", &HeadResult::amax_expected_key},
    {"v", &HeadResult::amax_expected_value},
}};

inline constexpr std::array<Field<RopeResult>, 2> kRopeFields = {{
    {"supremum_sampled", &RopeResult::supremum_sampled},
    {"bound", &RopeResult::bound},
}};

struct DescaleField {
  const char* name;
  DescalePair LayerResult::* pair;
};
inline constexpr std::array<DescaleField, 4> kDescaleFields = {{
    {"logits", &LayerResult::descale_logits},
    {"q", &LayerResult::descale_query},
    {"k", &LayerResult::descale_key},
    {"v", &LayerResult::descale_value},
}};

// visit(prefix, name, figure) for every figure of a head, in the order of the JSON; Head is
// HeadResult or const HeadResult. Rope figures only where the layer has RoPE.
template <class Head, class Visit>
void for_each_figure(Head& head, Visit&& visit) {
  const auto group = [&](const char* prefix, const auto& fields, auto& owner) {
    for (const auto& field : fields) visit(prefix, field.name, owner.*field.figure);
  };
  const auto formats = [&](const char* prefix, auto& figures) {
    for (std::size_t i = 0; i < figures.size(); ++i) visit(prefix, kReportedFormats[i], figures[i]);
  };
  group("", kSpectrumFields, head);
  if (head.rope) group("rope_", kRopeFields, *head.rope);
  group("", kCertificateFields, head.bounds);
  group("", kCapFields, head.bounds);
  group("certificate_rounded_", kRoundedFields, head.bounds);
  group("", kExpectedFields, head.bounds);
  group("amax_", kAmaxFields, head);
  group("amax_projection_", kAmaxProjectionFields, head);
  group("amax_expected_", kAmaxExpectedFields, head);
  formats("overflow_probability_", head.overflow_probability);
  formats("headroom_bits_", head.headroom_bits);
}

}  // namespace ullage::scan
