// What a scan finds, as plain data: the fields of the JSON report (docs/schema/scan.json), in its order.
//
// Logits S are scaled scores before the softmax. Numbers keep their tier: certificates hold for every input
// in exact arithmetic; expected figures hold with probability 1 - P a head and sequence under the
// isotropic model. `sigma` is |A^T B|_2 of the folded projections, `sigma_weights` |W_Q^T W_K|_2 of
// the stored ones.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace ullage::scan {

// A finite number, or the reason why there is none.
class Figure {
 public:
  Figure() = default;
  Figure(double value);  // NOLINT(google-explicit-constructor): not finite becomes a missing figure
  static Figure none(std::string why);

  [[nodiscard]] bool known() const { return known_; }
  [[nodiscard]] double value() const { return value_; }  // 0 where not known
  [[nodiscard]] const std::string& why() const { return why_; }

 private:
  double value_ = 0;
  bool known_ = false;
  std::string why_ = "not computed";
};

// The formats whose overflow is reported for every head, whatever --format says.
inline constexpr std::array<const char*, 3> kReportedFormats = {"e4m3", "e5m2", "fp16"};

struct RopeResult {
  Figure supremum_sampled;  // max |A^T R_t B|_2 over the sampled offsets t, from below
  int offsets = 0;          // how many were sampled
  // Certified, every offset: |D A|_2 |D^-1 B|_2; both in units of sigma, without biases.
  Figure bound;
};

struct HeadBounds {
  Figure naive, interaction, augmented, rope, qk_norm, clip, latent;
  Figure certificate;          // the smallest of them, after the soft cap, without additive bias
  std::string certificate_by;  // the name of the one that binds
  Figure before_cap, additive_bias;
  Figure certificate_bf16, certificate_e4m3;  // of a forward pass that rounds its operands so
  Figure rank_aware, rank_agnostic;  // published, raw: from sigma alone, R and biases ignored
  Figure expected_off_diagonal, expected_diagonal, expected;
  Figure expected_before_cap;  // headroom is taken from it; not a field of the JSON
};

struct HeadResult {
  int head = 0;
  int kv_head = 0;
  Figure sigma_weights, sigma, sigma_query, sigma_key, frobenius, stable_rank;
  std::optional<RopeResult> rope;  // none: the layer has no RoPE
  HeadBounds bounds;
  Figure amax_query, amax_key, amax_value;            // as an attention kernel quantises them
  Figure amax_projection_query, amax_projection_key;  // before RoPE
  Figure amax_expected_query, amax_expected_key, amax_expected_value;
  std::array<Figure, kReportedFormats.size()> overflow_probability;
  std::array<Figure, kReportedFormats.size()> headroom_bits;
  // "expected" or "certificate"; empty where there is no headroom figure.
  std::string headroom_tier;
  bool finite = true;                   // false: a weight of this head is NaN or infinite
  std::vector<double> singular_values;  // of the folded product, descending; only when asked for
};

struct DescalePair {
  Figure certificate, expected;
};

struct LayerResult {
  int layer = 0;
  std::string name;
  std::string stack;
  Figure sigma_concatenated;
  int sigma_concatenated_iterations = 0;  // 0: exact
  DescalePair descale_logits, descale_query, descale_key, descale_value;
  std::vector<HeadResult> heads;
};

// A tensor that holds NaN or infinity.
struct NotFinite {
  std::string tensor;
  int layer = 0;
  int head = -1;            // of the projection's heads; -1: the whole layer (a gain or bias)
  std::uint64_t count = 0;  // not finite values among those read
};

struct WorstHead {
  int layer = 0;
  std::string name;
  int head = 0;
  double headroom_bits = 0;
};

struct ScanResult {
  std::string version;
  std::string checkpoint;  // as given
  std::string model_type;
  std::string
      model_class;  // the config's first architecture, "LlamaForCausalLM"; not a field of the JSON
  std::string format;
  std::int64_t context = 0;
  bool context_assumed = false;  // neither the config nor the caller gave one
  double probability = 0;
  std::vector<std::string> assumptions;
  std::vector<NotFinite> not_finite;
  std::vector<LayerResult> layers;
  std::optional<WorstHead> worst;  // smallest headroom in `format`; none: no head has a figure

  // What differs from run to run.
  double seconds = 0;
  int threads = 0;
  std::string cpu_path;
  std::string device;  // where Grams were made: "cpu" or "cuda"
  std::uint64_t bytes_read = 0;

  [[nodiscard]] std::size_t heads() const;
};

// The report of docs/schema/scan.json, schema 1: the same bytes for the same input and any number of
// threads but for the object "run".
std::string to_json(const ScanResult& result);

// Every figure of a head under a flat name ("amax_q"), in the order of the JSON; pointers into `head`.
struct NamedFigure {
  std::string name;
  const Figure* figure = nullptr;
  const char* about = "";  // what it is, in a few words
};
std::vector<NamedFigure> figures_of(const HeadResult& head);

// Headroom in bits of one head: log2(format_max / expected before the cap), or of the certificate
// where there is no expected figure.
Figure headroom_bits(const HeadResult& head, double format_max);

// What --fail-under refuses: headroom below `least_bits`; weights that are not finite; no headroom figure beside a
// certificate that the format does not hold.
bool lacks_headroom(const HeadResult& head, double format_max, double least_bits);

}  // namespace ullage::scan
