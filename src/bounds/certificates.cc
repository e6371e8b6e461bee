#include "ullage/bounds/certificates.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "bounds/upper.h"
#include "ullage/bounds/clip.h"
#include "ullage/spectrum/certificate.h"

namespace ullage::bounds {

namespace {

using spectrum::round_up;

// sqrt(d)|A| + |a|: the longest q.
double longest_query(const HeadNorms& norms) {
  return std::sqrt(norms.query_squared_norm) * norms.query + norms.query_bias;
}
double longest_key(const HeadNorms& norms) {
  return std::sqrt(norms.key_squared_norm) * norms.key + norms.key_bias;
}

spectrum::Side spectral_side(const Side& side, const spectrum::Matrix& gram) {
  return {&gram, side.bias, std::sqrt(side.squared_norm)};
}

// t, or where a side has a bias and no t yet: t^2 = r |Da|/|DA|. Any positive one is valid.
double radius_for(const spectrum::Side& side, double t, std::span<const double> d, bool inverse) {
  if (t > 0.0 || !(spectrum::norm2(side.bias) > 0.0)) return t;
  std::vector<double> scaling(d.begin(), d.end());
  if (inverse) {
    for (double& value : scaling) value = 1.0 / value;
  }
  std::vector<double> bias(side.bias.begin(), side.bias.end());
  for (std::size_t i = 0; i < bias.size(); ++i) bias[i] *= scaling[i];
  const double norm = spectrum::certified_norm(spectrum::scaled_symmetric(*side.gram, scaling));
  const double ratio = spectrum::norm2(bias) / norm;
  return ratio > 0.0 && std::isfinite(ratio) ? std::sqrt(side.radius * ratio) : side.radius;
}

// What a bound on the score of the computed biases lacks where those are not the true ones.
double bias_error_term(const Head& head, const HeadNorms& norms) {
  const double e_q = head.query.bias_error;
  const double e_k = head.key.bias_error;
  if (e_q == 0.0 && e_k == 0.0) return 0.0;
  return norms.scale * (e_q * longest_key(norms) + e_k * longest_query(norms) + e_q * e_k);
}

constexpr std::string_view kTurned = "RoPE: holds where tokens do not rotate only";
constexpr std::string_view kUnknownPairs = "RoPE with an unknown pairing: the naive bound only";
constexpr std::string_view kClipped = "q and k are clipped: void on the weights' product";
constexpr std::string_view kNoRope = "no RoPE";
constexpr std::string_view kNoQkNorm = "no QK-norm";
constexpr std::string_view kNoClip = "no clipping";

Figure qk_norm_figure(const Head& head, const CertifyOptions& options, bool clipped_and_still) {
  const bool normed = head.between == Between::qk_norm || head.between == Between::qk_norm_and_clip;
  if (!normed || options.query_qk_norm == nullptr || options.key_qk_norm == nullptr)
    return Figure::none(kNoQkNorm);
  if (head.rotation_unknown) return Figure::none(kUnknownPairs);
  if (clipped_and_still)
    return Figure::none(kClipped);  // its last term is a product of whole biases
  return qk_norm_bound(*options.query_qk_norm, *options.key_qk_norm, pairs_of(head), head.scale);
}

// `error`, of rounded biases, belongs to every bound.
void take_smallest(Certificates& out, double error) {
  const std::array<std::pair<std::string_view, Figure*>, 6> candidates = {{
      {"naive", &out.naive},
      {"interaction", &out.interaction},
      {"augmented", &out.augmented},
      {"rope", &out.rope},
      {"qk_norm", &out.qk_norm},
      {"clip", &out.clip},
  }};
  out.before_cap = std::numeric_limits<double>::infinity();
  for (const auto& [name, figure] : candidates) {
    if (!*figure) continue;
    if (error > 0.0) figure->value = round_up(figure->value + error);
    if (out.by.empty() || figure->value < out.before_cap) {
      out.before_cap = figure->value;
      out.by = name;
    }
  }
}

}  // namespace

HeadNorms head_norms(const Head& head, double query, double key, double sigma) {
  HeadNorms norms;
  norms.query = query;
  norms.key = key;
  norms.sigma = sigma;
  norms.query_squared_norm = head.query.squared_norm;
  norms.key_squared_norm = head.key.squared_norm;
  norms.scale = head.scale;
  const std::vector<double>& a = head.query.bias;
  const std::vector<double>& b = head.key.bias;
  norms.query_bias = upper_norm(a);
  norms.key_bias = upper_norm(b);
  if (norms.key_bias > 0.0) norms.query_at_key_bias = upper_image(head.query, b);
  if (norms.query_bias > 0.0) norms.key_at_query_bias = upper_image(head.key, a);
  if (norms.query_bias > 0.0 && norms.key_bias > 0.0) norms.bias_product = upper_product(a, b);
  return norms;
}

double naive(const HeadNorms& norms) {
  return round_up(norms.scale * longest_query(norms) * longest_key(norms));
}

double interaction(const HeadNorms& norms) {
  const double root_q = std::sqrt(norms.query_squared_norm);
  const double root_k = std::sqrt(norms.key_squared_norm);
  return round_up(norms.scale * (root_q * root_k * norms.sigma + root_q * norms.query_at_key_bias +
                                 root_k * norms.key_at_query_bias + norms.bias_product));
}

Radii augmented_radii(const Head& head, const HeadNorms& norms) {
  const double root_q = std::sqrt(norms.query_squared_norm);
  const double root_k = std::sqrt(norms.key_squared_norm);
  const double k11 = root_q * root_k * norms.sigma;
  const double k12 = root_q * norms.query_at_key_bias;
  const double k21 = root_k * norms.key_at_query_bias;
  const double k22 = norms.bias_product;
  constexpr double kFloor = 1e-6;
  const auto radius = [&](double squared_norm, double first, double second) {
    const double ratio = std::max(second, kFloor * first) / std::max(first, kFloor * second);
    return std::isfinite(ratio) ? std::sqrt(squared_norm * ratio) : std::sqrt(squared_norm);
  };
  Radii radii;
  if (norms.query_bias > 0.0) radii.query = radius(head.query.squared_norm, k11 + k12, k21 + k22);
  if (norms.key_bias > 0.0) radii.key = radius(head.key.squared_norm, k11 + k21, k12 + k22);
  return radii;
}

double augmented(const Head& head, const HeadNorms& norms) {
  if (norms.query_bias == 0.0 && norms.key_bias == 0.0) return interaction(norms);
  const Radii radii = augmented_radii(head, norms);
  const auto gram = [](const Side& side, double t) {
    spectrum::Matrix g = inflated(side);
    return t > 0.0 ? spectrum::with_column(g, side.bias, t) : g;
  };
  const double sigma =
      spectrum::certified_sigma(gram(head.query, radii.query), gram(head.key, radii.key));
  return round_up(norms.scale * std::sqrt(norms.query_squared_norm + radii.query * radii.query) *
                  std::sqrt(norms.key_squared_norm + radii.key * radii.key) * sigma);
}

double rotated(const Head& head, const spectrum::Scaling* scaling) {
  const spectrum::Matrix query = inflated(head.query);
  const spectrum::Matrix key = inflated(head.key);
  const spectrum::Side q = spectral_side(head.query, query);
  const spectrum::Side k = spectral_side(head.key, key);
  spectrum::Scaling used =
      scaling != nullptr ? *scaling : spectrum::optimal_scaling(*head.rotation, q, k);
  // A scaling found without the biases has no radii for them.
  const double t_q = used.t_q, t_k = used.t_k;
  used.t_q = radius_for(q, t_q, used.d, false);
  used.t_k = radius_for(k, t_k, used.d, true);
  if (used.t_q != t_q) used.norm_q = 0.0;
  if (used.t_k != t_k) used.norm_k = 0.0;
  return round_up(head.scale * spectrum::certified_scaled(*head.rotation, q, k, used));
}

double soft_capped(double bound, double cap) {
  if (!(cap > 0.0)) return bound;
  // tanh of the C library is within 2 ulp.
  return std::min(cap, round_up(cap * std::tanh(bound / cap)));
}

Result<Certificates> certify(const Head& head, const CertifyOptions& options) {
  ULLAGE_TRY(check_side(head.query, "query"));
  ULLAGE_TRY(check_side(head.key, "key"));
  if (head.query.gram.rows() != head.key.gram.rows()) {
    return Error{Code::value_invalid, "query and key differ in head width", "key",
                 std::to_string(head.query.gram.rows()), std::to_string(head.key.gram.rows())};
  }
  const bool clipped = head.between == Between::clip || head.between == Between::qk_norm_and_clip;
  const bool turned = head.rotation_unknown || !pairs_of(head).empty();

  const double query =
      options.query_norm ? *options.query_norm : spectrum::certified_norm(inflated(head.query));
  const double key =
      options.key_norm ? *options.key_norm : spectrum::certified_norm(inflated(head.key));
  double sigma = -1.0;
  if (!turned && !clipped) {
    sigma = options.sigma ? *options.sigma
                          : spectrum::certified_sigma(inflated(head.query), inflated(head.key));
  }

  Certificates out;
  out.norms = head_norms(head, query, key, sigma);
  out.naive = naive(out.norms);
  if (clipped) {
    out.interaction = out.augmented = out.rope = Figure::none(kClipped);
  } else if (turned) {
    out.interaction = out.augmented = Figure::none(kTurned);
    out.rope = head.rotation_unknown ? Figure::none(kUnknownPairs)
               : options.rotated     ? Figure(*options.rotated)
                                     : Figure(rotated(head, options.scaling));
    // D = 1 with the best t and t' is the naive bound, whatever the search and its rounding ended with.
    if (out.rope) out.rope.value = std::min(out.rope.value, out.naive.value);
  } else {
    out.interaction = interaction(out.norms);
    out.augmented = augmented(head, out.norms);
    out.rope = Figure::none(kNoRope);
  }
  out.clip = clipped ? Figure(clipped_bound(head)) : Figure::none(kNoClip);
  out.qk_norm = qk_norm_figure(head, options, clipped && !turned);

  take_smallest(out, bias_error_term(head, out.norms));
  out.certificate = soft_capped(out.before_cap, options.soft_cap);
  out.additive_bias = options.additive_bias;
  return out;
}

}  // namespace ullage::bounds
