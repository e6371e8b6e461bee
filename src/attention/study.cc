#include "ullage/attention/study.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <optional>
#include <string>

#include "attention/exact.h"
#include "attention/rank_one_sum.h"
#include "attention/run.h"
#include "attention/softmax.h"

namespace ullage::attention {

namespace {

const formats::Format& format_of(const Store& store) {
  return store.format ? *store.format : formats::kFp32;
}

// What one head contributes to a StudyCase.
struct Findings {
  std::size_t rows = 0;
  std::size_t repeated_rows = 0;
  std::size_t lost_rows = 0;
  std::size_t entries = 0;
  std::size_t ones = 0;
  std::vector<double> tail_masses;
  SignedErrorSum unnormalised;
  SignedErrorSum output;
  SignedErrorSum delta;
  Coherence alignment;
};

// Arrays of one head's forward pass and delta.
struct HeadRun {
  std::vector<float> output;
  std::vector<float> log_sum_exp;
  std::vector<float> twin;
  std::vector<float> unnormalised;
  std::vector<float> unnormalised_twin;
  std::vector<std::uint32_t> ones;
  std::vector<float> delta;
};

// Rows of one head: batch and head are not looked at.
template <class T>
View<T> rows_of(std::vector<T>& values, std::size_t rows, std::size_t columns) {
  values.resize(rows * columns);
  return {values.data(), 0, 0, static_cast<std::ptrdiff_t>(columns), 1};
}

View<const float> grad_output_of(const StudyInputs& inputs) {
  if (inputs.grad_output.empty()) return {};
  const Shape& shape = inputs.shape;
  return contiguous(inputs.grad_output.data(), shape.query_heads, shape.queries, shape.value_width);
}

HeadRun run(const StudyInputs& inputs, const Recipe& recipe, const Options& options,
            std::size_t batch, std::size_t head) {
  const Shape& shape = inputs.shape;
  HeadRun run;
  Outputs<float> outputs;
  outputs.output = rows_of(run.output, shape.queries, shape.value_width);
  outputs.log_sum_exp = rows_of(run.log_sum_exp, shape.queries, 1);
  outputs.twin = rows_of(run.twin, shape.queries, shape.value_width);
  outputs.unnormalised = rows_of(run.unnormalised, shape.queries, shape.value_width);
  outputs.unnormalised_twin = rows_of(run.unnormalised_twin, shape.queries, shape.value_width);
  outputs.ones = rows_of(run.ones, shape.queries, 1);
  const Inputs<float> view = inputs.view();
  forward_head(view, recipe, options, outputs, batch, head);
  if (inputs.grad_output.empty()) return run;
  const Saved<float> saved = {outputs.output, outputs.log_sum_exp, outputs.twin};
  delta_head(view, recipe, options, grad_output_of(inputs), saved,
             rows_of(run.delta, shape.queries, 1), batch, head);
  return run;
}

// |L - L_exact| above this: the row sum was lost, not rounded.
constexpr double kLostLog = 0.5;

class HeadStudy {
 public:
  HeadStudy(const StudyInputs& inputs, const Recipe& recipe, const Options& options,
            std::size_t batch, std::size_t head)
      : inputs_(inputs),
        recipe_(recipe),
        batch_(batch),
        head_index_(head),
        view_(inputs.view()),
        run_(run(inputs, recipe, options, batch, head)),
        rounders_(recipe, 0),
        head_(view_, recipe, batch, head, rounders_),
        exact_(head_) {}

  Findings findings() {
    if (!inputs_.grad_output.empty())
      weight_error_.emplace(inputs_.shape.queries, inputs_.shape.width,
                            inputs_.x.empty() ? 1 : inputs_.model_width);
    Findings found = errors();
    if (weight_error_) found.alignment = weight_error_->coherence();
    return found;
  }

  // All but the alignment of the weight gradient's error.
  Findings errors() {
    for (std::size_t i = 0; i < inputs_.shape.queries; ++i) take_row(i);
    return std::move(findings_);
  }

 private:
  void take_row(std::size_t query) {
    const ExactRow exact = exact_.row(query);
    if (exact.statistics.keys == 0) return;
    ++findings_.rows;
    findings_.entries += exact.statistics.keys;
    findings_.ones += run_.ones[query];
    if (exact.statistics.repeats > 1) {
      ++findings_.repeated_rows;
      const double repeats = exact.statistics.repeats;
      findings_.tail_masses.push_back((1 + exact.statistics.tail - repeats) / repeats);
    }
    const double log_error = static_cast<double>(run_.log_sum_exp[query]) - exact.log_sum_exp;
    // FP32 cannot place L closer than its own distance between numbers.
    const double room = std::max(kLostLog, std::fabs(exact.log_sum_exp) * 0x1p-22);
    if (!(std::fabs(log_error) <= room) || !output_is_finite(query)) {
      ++findings_.lost_rows;
      return;
    }
    take_errors(query, exact, log_error);
  }

  bool output_is_finite(std::size_t query) const {
    const std::size_t columns = inputs_.shape.value_width;
    const auto row = run_.output.begin() + static_cast<std::ptrdiff_t>(query * columns);
    return std::all_of(row, row + static_cast<std::ptrdiff_t>(columns),
                       [](float x) { return std::isfinite(x); });
  }

  void take_errors(std::size_t query, const ExactRow& exact, double log_error) {
    const std::size_t columns = inputs_.shape.value_width;
    const Store& tile = recipe_[Quantity::tile_output];
    const Store& running = tile.format ? tile : recipe_[Quantity::running_output];
    const formats::Format& output_format = format_of(recipe_[Quantity::output]);
    output_errors_.resize(columns);
    unnormalised_errors_.resize(columns);
    for (std::size_t c = 0; c < columns; ++c) {
      const std::size_t e = query * columns + c;
      const auto twin = static_cast<double>(run_.unnormalised_twin[e]);
      unnormalised_errors_[c] =
          (static_cast<double>(run_.unnormalised[e]) - twin) / ulp(format_of(running), twin);
      output_errors_[c] = (static_cast<double>(run_.output[e]) - exact.output[c]) /
                          ulp(output_format, std::max(std::fabs(exact.output[c]), exact.sizes[c]));
    }
    findings_.output.add(output_errors_);
    findings_.unnormalised.add(unnormalised_errors_);
    if (inputs_.grad_output.empty()) return;
    double expected = 0;
    const View<const float> grad = grad_output_of(inputs_);
    Rounder<float>& round = rounders_[Quantity::grad_output];
    for (std::size_t c = 0; c < columns; ++c)
      expected +=
          static_cast<double>(round(grad.at(batch_, head_index_, query, c))) * exact.output[c];
    // The backward pass's own P = exp(S - L) sums to exp(L_exact - L).
    const double error = static_cast<double>(run_.delta[query]) - expected * std::exp(-log_error);
    findings_.delta.add({&error, 1});
    if (weight_error_ && std::isfinite(error))
      weight_error_->add(query, error, exact.keys, model_row(query));
  }

  std::span<const float> model_row(std::size_t query) const {
    static constexpr float kOne = 1;
    if (inputs_.x.empty()) return {&kOne, 1};
    const std::size_t row = batch_ * inputs_.shape.queries + query;
    return {inputs_.x.data() + row * inputs_.model_width, inputs_.model_width};
  }

  const StudyInputs& inputs_;
  const Recipe& recipe_;
  std::size_t batch_;
  std::size_t head_index_;
  Inputs<float> view_;
  HeadRun run_;
  Rounders<float> rounders_;
  Head<float> head_;
  ExactHead exact_;
  std::optional<RankOneSum> weight_error_;
  std::vector<double> output_errors_;
  std::vector<double> unnormalised_errors_;
  Findings findings_;
};

double median(std::vector<double>& values) {
  if (values.empty()) return 0;
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

StudyCase summarise(std::vector<Findings>& heads) {
  StudyCase out;
  SignedErrorSum unnormalised;
  SignedErrorSum output;
  SignedErrorSum delta;
  std::vector<double> tails;
  for (const Findings& head : heads) {
    out.rows += head.rows;
    out.repeated_rows += head.repeated_rows;
    out.lost_rows += head.lost_rows;
    out.entries += head.entries;
    out.ones += head.ones;
    tails.insert(tails.end(), head.tail_masses.begin(), head.tail_masses.end());
    unnormalised.merge(head.unnormalised);
    output.merge(head.output);
    delta.merge(head.delta);
    const double share = 1 / static_cast<double>(heads.size());
    out.alignment.pair_cosine += share * head.alignment.pair_cosine;
    out.alignment.key_cosine += share * head.alignment.key_cosine;
    out.alignment.input_cosine += share * head.alignment.input_cosine;
    out.alignment.sum_share += share * head.alignment.sum_share;
    out.alignment.top_share += share * head.alignment.top_share;
  }
  out.tail_mass = median(tails);
  out.unnormalised = unnormalised.result();
  out.output = output.result();
  out.delta = delta.result();
  out.output_histogram = output.histogram();
  return out;
}

Status check_study(const StudyInputs& inputs, const Recipe& recipe, const Options& options) {
  ULLAGE_TRY(check(inputs));
  return check_run<float>(recipe, options);
}

Status check_head(const StudyInputs& inputs, const Recipe& recipe, const Options& options,
                  std::size_t batch, std::size_t head) {
  ULLAGE_TRY(check_study(inputs, recipe, options));
  if (batch < inputs.shape.batch && head < inputs.shape.query_heads) return {};
  return Error{Code::usage, "no such head", "study",
               std::to_string(inputs.shape.query_heads) + " heads", std::to_string(head)};
}

}  // namespace

double ulp(const formats::Format& format, double x) {
  const double magnitude = std::max(std::fabs(x), format.min_normal());
  return std::ldexp(1.0, std::ilogb(magnitude) - format.mantissa_bits);
}

Result<StudyCase> study_head(const StudyInputs& inputs, const Recipe& recipe,
                             const Options& options, std::size_t batch, std::size_t head) {
  ULLAGE_TRY(check_head(inputs, recipe, options, batch, head));
  std::vector<Findings> heads(1);
  ULLAGE_TRY(run_heads(1, 1, [&](std::size_t) {
    heads[0] = HeadStudy(inputs, recipe, options, batch, head).findings();
  }));
  StudyCase found = summarise(heads);
  found.has_grad_output = !inputs.grad_output.empty();
  return found;
}

Result<SignedErrorSum> delta_errors(const StudyInputs& inputs, const Recipe& recipe,
                                    const Options& options, std::size_t batch, std::size_t head) {
  ULLAGE_TRY(check_head(inputs, recipe, options, batch, head));
  SignedErrorSum errors;
  ULLAGE_TRY(run_heads(1, 1, [&](std::size_t) {
    errors = HeadStudy(inputs, recipe, options, batch, head).errors().delta;
  }));
  return errors;
}

Result<StudyCase> study(const StudyInputs& inputs, const Recipe& recipe, const Options& options) {
  ULLAGE_TRY(check_study(inputs, recipe, options));
  const std::size_t heads = inputs.shape.query_heads;
  std::vector<Findings> findings(inputs.shape.batch * heads);
  ULLAGE_TRY(run_heads(findings.size(), options.threads, [&](std::size_t index) {
    findings[index] = HeadStudy(inputs, recipe, options, index / heads, index % heads).findings();
  }));
  StudyCase found = summarise(findings);
  found.has_grad_output = !inputs.grad_output.empty();
  return found;
}

Result<std::vector<double>> accumulated_bias(Made made, std::size_t heads, std::uint64_t seed,
                                             std::size_t steps, const Recipe& recipe,
                                             const Options& options) {
  std::vector<double> sums;
  double sum = 0;
  for (std::size_t step = 0; step < steps; ++step) {
    ULLAGE_ASSIGN(const StudyInputs inputs, make(made, heads, seed + step));
    Options moved = options;
    moved.shift.seed += step;
    ULLAGE_ASSIGN(const StudyCase found, study(inputs, recipe, moved));
    sum += found.delta.mean * static_cast<double>(found.delta.count);
    sums.push_back(sum);
  }
  return sums;
}

std::vector<AdditionStep> trace_addition(std::span<const float> terms) {
  std::vector<AdditionStep> steps;
  Rounder<float> round({.format = formats::kBf16}, 0, 0);
  float sum = 0;
  for (const float term : terms) {
    sum += term;
    const float rounded = round(sum);
    steps.push_back({term, sum, std::bit_cast<std::uint32_t>(sum), rounded,
                     std::bit_cast<std::uint32_t>(rounded),
                     static_cast<double>(rounded) - static_cast<double>(sum)});
  }
  return steps;
}

Result<std::vector<float>> terms_of(const StudyInputs& inputs, const Recipe& recipe,
                                    const Shift& shift, std::size_t head, std::size_t query,
                                    std::size_t feature) {
  ULLAGE_TRY(check_study(inputs, recipe, {.shift = shift}));
  const Shape& shape = inputs.shape;
  if (head >= shape.query_heads || query >= shape.queries || feature >= shape.value_width)
    return Error{Code::usage, "no such head, query or feature", "study", {}, {}};
  const Inputs<float> view = inputs.view();
  Rounders<float> rounders(recipe, head);
  Head<float> stored(view, recipe, 0, head, rounders);
  RowSoftmax<float> softmax(recipe, shift, rounders);
  std::vector<float> row(shape.width);
  std::vector<float> weights(shape.keys);
  stored.read_queries(query, 1, row.data());
  stored.scores({query, 1, 0, shape.keys}, row.data(), weights.data(), nullptr);
  RowState<float> state =
      softmax.start({.head = head, .position = position_of(stored.sequence(), query)}, row);
  softmax.take_tile(state, weights);
  rounders[Quantity::weight](weights);
  std::vector<float> terms;
  for (std::size_t j = 0; j < shape.keys; ++j) {
    if (weights[j] != 0)
      terms.push_back(weights[j] * stored.values()[j * shape.value_width + feature]);
  }
  return terms;
}

}  // namespace ullage::attention
