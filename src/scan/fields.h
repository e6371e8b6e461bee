// The figures of a head, a layer and their groups by the names that the JSON and CSV reports give them, and what each is:
// one table for all reports. The page alone has titles of its own, for people.
#pragma once

#include <array>

#include "ullage/scan/result.h"

namespace ullage::scan {

template <class Owner>
struct Field {
  const char* name;
  Figure Owner::* figure;
  const char* about;  // what it is, in a few words
};

inline constexpr std::array<Field<HeadResult>, 6> kSpectrumFields = {{
    {"sigma_weights", &HeadResult::sigma_weights, "|W_Q^T W_K|_2 of the stored weights"},
    {"sigma", &HeadResult::sigma, "|A^T B|_2, gains folded"},
    {"sigma_q", &HeadResult::sigma_query, "|A|_2"},
    {"sigma_k", &HeadResult::sigma_key, "|B|_2"},
    {"frobenius", &HeadResult::frobenius, "|A^T B|_F"},
    {"stable_rank", &HeadResult::stable_rank, "|A^T B|_F^2 / sigma^2"},
}};

inline constexpr std::array<Field<HeadBounds>, 8> kCertificateFields = {{
    {"naive", &HeadBounds::naive, "product of the norms of q and k; holds under every rotation"},
    {"interaction", &HeadBounds::interaction,
     "norm of A^T B with a term for each bias; only where nothing rotates"},
    {"augmented", &HeadBounds::augmented,
     "biases as one more column of A and B; only where nothing rotates"},
    {"rope", &HeadBounds::rope,
     "norms of D A and D^-1 B for the best D that commutes with the rotation; every offset"},
    {"qk_norm", &HeadBounds::qk_norm, "the QK-norm's own gains in the place of the weights"},
    {"clip", &HeadBounds::clip, "coordinates clamped to clip_qkv"},
    {"latent", &HeadBounds::latent, "nope and rope parts of latent attention together"},
    {"certificate", &HeadBounds::certificate,
     "the smallest of those above, after the soft cap: no input exceeds it"},
}};

inline constexpr std::array<Field<HeadBounds>, 2> kCapFields = {{
    {"before_cap", &HeadBounds::before_cap,
     "the same before the soft cap: what overflow questions use"},
    {"additive_bias", &HeadBounds::additive_bias, "largest term that positions add to the score"},
}};

inline constexpr std::array<Field<HeadBounds>, 2> kRoundedFields = {{
    {"bf16", &HeadBounds::certificate_bf16,
     "the same (before the cap) for a forward pass that rounds its operands to BF16"},
    {"e4m3", &HeadBounds::certificate_e4m3, "and one that casts q and k to E4M3"},
}};

inline constexpr std::array<Field<HeadBounds>, 5> kExpectedFields = {{
    {"rank_aware", &HeadBounds::rank_aware,
     "published, Proposition 3.4 of [R]: i != j, no bias, no RoPE"},
    {"rank_agnostic", &HeadBounds::rank_agnostic, "published, without the rank"},
    {"expected_off_diagonal", &HeadBounds::expected_off_diagonal, "isotropic tokens, i != j"},
    {"expected_diagonal", &HeadBounds::expected_diagonal, "a token with itself"},
    {"expected", &HeadBounds::expected, "both together, at most the certificate"},
}};

inline constexpr std::array<Field<HeadResult>, 3> kAmaxFields = {{
    {"q", &HeadResult::amax_query, "largest |q| entry, as a kernel quantises it: a certificate"},
    {"k", &HeadResult::amax_key, "largest |k| entry"},
    {"v", &HeadResult::amax_value, "largest |v| entry"},
}};

inline constexpr std::array<Field<HeadResult>, 2> kAmaxProjectionFields = {{
    {"q", &HeadResult::amax_projection_query, "largest |q| entry before RoPE"},
    {"k", &HeadResult::amax_projection_key, "largest |k| entry before RoPE"},
}};

inline constexpr std::array<Field<HeadResult>, 3> kAmaxExpectedFields = {{
    {"q", &HeadResult::amax_expected_query, "what |q| entries reach under the isotropic model"},
    {"k", &HeadResult::amax_expected_key, "... and |k| entries"},
    {"v", &HeadResult::amax_expected_value, "... and |v| entries"},
}};

inline constexpr std::array<Field<RopeResult>, 2> kRopeFields = {{
    {"supremum_sampled", &RopeResult::supremum_sampled,
     "largest |A^T R_t B|_2 over the sampled offsets"},
    {"bound", &RopeResult::bound, "certified for every offset, in units of sigma"},
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

// visit(prefix, name, figure, about) for every figure of a head, in the order of the JSON; Head is
// HeadResult or const HeadResult. Rope figures only where the layer has RoPE.
template <class Head, class Visit>
void for_each_figure(Head& head, Visit&& visit) {
  const auto group = [&](const char* prefix, const auto& fields, auto& owner) {
    for (const auto& field : fields) visit(prefix, field.name, owner.*field.figure, field.about);
  };
  const auto formats = [&](const char* prefix, auto& figures, const char* about) {
    for (std::size_t i = 0; i < figures.size(); ++i)
      visit(prefix, kReportedFormats[i], figures[i], about);
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
  formats("overflow_probability_", head.overflow_probability,
          "chance, a head and sequence, that an unscaled logit overflows the format");
  formats("headroom_bits_", head.headroom_bits,
          "log2(format's maximum / expected largest |logit| before the cap)");
}

}  // namespace ullage::scan
