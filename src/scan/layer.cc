#include "scan/layer.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <optional>

#include "scan/fields.h"
#include "scan/latent.h"
#include "ullage/spectrum/power_iteration.h"

namespace ullage::scan {
namespace {

using checkpoint::AttentionLayer;
using checkpoint::InputNorm;
using checkpoint::LayerInput;
using spectrum::HeadRows;

constexpr int kConcatenatedPasses = 2;  // forwards and back: one iteration

class LayerScan {
 public:
  LayerScan(const LayerContext& context, LayerRows rows, Job& job,
            std::vector<HeadWorkspace>& workspaces)
      : context_(context),
        layer_(*context.layer),
        rows_(std::move(rows)),
        job_(job),
        workspaces_(workspaces),
        values_(static_cast<std::size_t>(layer_.kv_heads)) {}

  Result<LayerOutcome> run();

 private:
  // A key head and those of its query heads, [first, last), that one task takes, on one thread, so that their rows are
  // read once and stay in cache; where threads outnumber key heads, a group is cut and its key head folded by each part.
  struct Group {
    int kv_head, first, last;
  };
  [[nodiscard]] int parts_of_group() const;
  [[nodiscard]] Group group_of(int task) const;

  // body(index, worker) over [0, count); the first error by index.
  template <class Body>
  Status each(int count, Body&& body) {
    std::vector<Status> outcome(static_cast<std::size_t>(count));
    job_.each(outcome.size(),
              [&](std::size_t i, int worker) { outcome[i] = body(static_cast<int>(i), worker); });
    for (Status& status : outcome) ULLAGE_TRY(std::move(status));
    return {};
  }

  // body(task, worker) over [0, tasks), then the value heads: short tasks last, so that threads end together.
  Status with_values(const LayerInput& input, int tasks,
                     const std::function<Status(int task, int worker)>& body);
  Status scan_value(const LayerInput& input, int head, int worker, std::vector<NotFinite>& bad);
  // Adds the first pass of the layer's own sigma to `streaming`, unless that is null.
  Status scan_attention(const LayerInput& input, std::vector<HeadResult>& heads,
                        spectrum::StreamingSigma* streaming);
  // The Grams of all heads from the engine; query heads first.
  Result<spectrum::LayerGrams> engine_grams(const LayerInput& input);
  Status scan_latent(const LayerInput& input, std::vector<HeadResult>& heads);
  Status concatenate(spectrum::StreamingSigma* streaming, LayerResult& result);
  void report_not_finite(const checkpoint::Projection& projection, int head, const HeadRows& rows,
                         std::vector<NotFinite>& list) const;
  void report_vectors();

  const LayerContext& context_;
  const AttentionLayer& layer_;
  LayerRows rows_;
  Job& job_;
  std::vector<HeadWorkspace>& workspaces_;  // one a worker
  std::vector<ValueFigures> values_;
  std::vector<NotFinite> not_finite_;
};

void LayerScan::report_not_finite(const checkpoint::Projection& projection, int head,
                                  const HeadRows& rows, std::vector<NotFinite>& list) const {
  if (const std::uint64_t count = count_not_finite(rows); count > 0)
    list.push_back({std::string(projection.weight->name), layer_.layer, head, count});
}

// Gains and biases belong to the whole layer.
void LayerScan::report_vectors() {
  const auto check = [&](const std::string& name, const std::vector<double>& values) {
    const auto count =
        std::count_if(values.begin(), values.end(), [](double v) { return !std::isfinite(v); });
    if (count > 0)
      not_finite_.push_back({name, layer_.layer, -1, static_cast<std::uint64_t>(count)});
  };
  const auto check_norm = [&](const InputNorm& norm) {
    check(norm.name, norm.gain);
    check(norm.name + " (bias)", norm.bias);
  };
  for (const LayerInput& input : layer_.inputs) {
    check_norm(input.query);
    if (input.key.name != input.query.name) check_norm(input.key);
  }
  for (const checkpoint::Projection* projection : {&layer_.query, &layer_.key, &layer_.value})
    check(projection->bias_name, projection->bias);
  if (layer_.qk_norm) {
    check(layer_.name + " query norm", layer_.qk_norm->query_gain);
    check(layer_.name + " key norm", layer_.qk_norm->key_gain);
  }
}

Status LayerScan::scan_value(const LayerInput& input, int head, int worker,
                             std::vector<NotFinite>& bad) {
  ULLAGE_ASSIGN(const HeadRows rows, rows_.rows(Part::value, head, worker));
  ValueFigures figures = value_amax(context_, input.key, rows, bias_of(layer_.value, head),
                                    workspaces_[static_cast<std::size_t>(worker)].grams);
  if (!figures.finite) report_not_finite(layer_.value, head, rows, bad);
  values_[static_cast<std::size_t>(head)] = std::move(figures);
  return {};
}

Status LayerScan::with_values(const LayerInput& input, int tasks,
                              const std::function<Status(int task, int worker)>& body) {
  std::vector<std::vector<NotFinite>> bad(values_.size());
  ULLAGE_TRY(each(tasks + layer_.kv_heads, [&](int i, int worker) -> Status {
    if (i < tasks) return body(i, worker);
    return scan_value(input, i - tasks, worker, bad[static_cast<std::size_t>(i - tasks)]);
  }));
  for (const auto& list : bad) not_finite_.insert(not_finite_.end(), list.begin(), list.end());
  return {};
}

int LayerScan::parts_of_group() const {
  return std::clamp((job_.threads() + layer_.kv_heads - 1) / layer_.kv_heads, 1,
                    layer_.query_heads / layer_.kv_heads);
}

LayerScan::Group LayerScan::group_of(int task) const {
  const int group = layer_.query_heads / layer_.kv_heads, parts = parts_of_group();
  const int kv_head = task / parts, part = task % parts;
  const int first = kv_head * group;
  return {kv_head, first + group * part / parts, first + group * (part + 1) / parts};
}

Result<spectrum::LayerGrams> LayerScan::engine_grams(const LayerInput& input) {
  spectrum::GramEngine& engine = *context_.options->grams;
  const int queries = layer_.query_heads;
  ULLAGE_TRY(engine.begin(static_cast<std::size_t>(queries + layer_.kv_heads)));
  ULLAGE_TRY(each(queries + layer_.kv_heads, [&](int i, int worker) -> Status {
    const bool query = i < queries;
    ULLAGE_ASSIGN(const HeadRows rows,
                  rows_.rows(query ? Part::query : Part::key, query ? i : i - queries, worker));
    return engine.add(static_cast<std::size_t>(i),
                      folded_rows(rows, query ? input.query : input.key));
  }));
  std::vector<spectrum::HeadPair> pairs;
  for (int head = 0; head < queries && wants_cross(context_, input); ++head)
    pairs.push_back({head, queries + head / (queries / layer_.kv_heads)});
  return engine.finish(pairs);
}

Status LayerScan::scan_attention(const LayerInput& input, std::vector<HeadResult>& heads,
                                 spectrum::StreamingSigma* streaming) {
  std::vector<std::vector<NotFinite>> bad_keys(static_cast<std::size_t>(layer_.kv_heads)),
      bad_queries(heads.size());
  std::optional<spectrum::LayerGrams> made;
  if (context_.options->grams != nullptr) {
    ULLAGE_ASSIGN(made, engine_grams(input));
  }
  const auto made_of = [&](int head) {
    return made ? &made->heads[static_cast<std::size_t>(head)] : nullptr;
  };
  ULLAGE_TRY(
      with_values(input, layer_.kv_heads * parts_of_group(), [&](int task, int worker) -> Status {
        const Group group = group_of(task);
        HeadWorkspace& workspace = workspaces_[static_cast<std::size_t>(worker)];
        HeadPair pair;
        pair.kv_head = group.kv_head;
        ULLAGE_ASSIGN(pair.key, rows_.rows(Part::key, group.kv_head, worker));
        scan_key(context_, input, group.kv_head, pair.key,
                 made_of(layer_.query_heads + group.kv_head), workspace);
        if (!workspace.key.folded.finite &&
            group.first % (layer_.query_heads / layer_.kv_heads) == 0)
          report_not_finite(layer_.key, group.kv_head, pair.key,
                            bad_keys[static_cast<std::size_t>(group.kv_head)]);
        for (pair.head = group.first; pair.head < group.last; ++pair.head) {
          const auto head = static_cast<std::size_t>(pair.head);
          ULLAGE_ASSIGN(pair.query, rows_.rows(Part::query, pair.head, worker));
          pair.made = made_of(pair.head);
          pair.cross = made && !made->cross.empty() ? &made->cross[head] : nullptr;
          scan_head(context_, input, pair, workspace, heads[head]);
          if (!workspace.query.finite)
            report_not_finite(layer_.query, pair.head, pair.query, bad_queries[head]);
          if (streaming != nullptr) streaming->add(pair.head, {&pair.query, 1}, pair.key);
        }
        return {};
      }));
  for (const auto* bad : {&bad_queries, &bad_keys})
    for (const auto& list : *bad) not_finite_.insert(not_finite_.end(), list.begin(), list.end());
  return {};
}

Status LayerScan::scan_latent(const LayerInput& input, std::vector<HeadResult>& heads) {
  ULLAGE_ASSIGN(const HeadRows rope_rows, rows_.rows(Part::key_rope, 0, job_.worker()));
  Folded key_rope;
  fold_precisely(rope_rows, layer_.latent->rope_input, bias_of(layer_.latent->key_rope, 0),
                 workspaces_[static_cast<std::size_t>(job_.worker())].grams, key_rope);
  if (!key_rope.finite) report_not_finite(layer_.latent->key_rope, 0, rope_rows, not_finite_);
  std::vector<std::vector<NotFinite>> bad(heads.size());
  ULLAGE_TRY(with_values(input, layer_.query_heads, [&](int head, int worker) -> Status {
    HeadResult& out = heads[static_cast<std::size_t>(head)];
    ULLAGE_ASSIGN(const HeadRows query, rows_.rows(Part::query, head, worker));
    ULLAGE_ASSIGN(const HeadRows key, rows_.rows(Part::key, out.kv_head, worker));
    HeadWorkspace& workspace = workspaces_[static_cast<std::size_t>(worker)];
    scan_latent_head(context_, input, head, query, key, key_rope, workspace, out);
    auto& list = bad[static_cast<std::size_t>(head)];
    if (!workspace.query.finite) report_not_finite(layer_.query, head, query, list);
    if (!workspace.precise_key.finite) report_not_finite(layer_.key, out.kv_head, key, list);
    return {};
  }));
  for (const auto& list : bad) not_finite_.insert(not_finite_.end(), list.begin(), list.end());
  return {};
}

// The published layer figure: gains not folded.
Status LayerScan::concatenate(spectrum::StreamingSigma* streaming, LayerResult& result) {
  if (layer_.latent) {
    result.sigma_concatenated = Figure::none("latent attention has no single W_Q^T W_K");
    return {};
  }
  if (std::any_of(result.heads.begin(), result.heads.end(),
                  [](const HeadResult& h) { return !h.finite; })) {
    result.sigma_concatenated = Figure::none("weights are not finite");
    return {};
  }
  if (streaming != nullptr) {
    // The first pass was made while the heads were scanned; this one begins with what was read last, which is in the
    // outer caches still.
    streaming->finish_pass();
    while (streaming->passes() < kConcatenatedPasses) {
      ULLAGE_TRY(each(layer_.query_heads, [&](int i, int worker) -> Status {
        const int head = layer_.query_heads - 1 - i;
        const int kv_head = result.heads[static_cast<std::size_t>(head)].kv_head;
        ULLAGE_ASSIGN(const HeadRows key, rows_.rows(Part::key, kv_head, worker));
        ULLAGE_ASSIGN(const HeadRows query, rows_.rows(Part::query, head, worker));
        streaming->add(i, {&query, 1}, key);
        return {};
      }));
      streaming->finish_pass();
    }
    result.sigma_concatenated = streaming->estimate();
    result.sigma_concatenated_iterations = kConcatenatedPasses / 2;
    return {};
  }
  std::vector<HeadRows> queries, keys;
  for (int head = 0; head < layer_.query_heads; ++head) {
    ULLAGE_ASSIGN(const HeadRows rows, rows_.rows(Part::query, head, job_.worker()));
    queries.push_back(rows);
  }
  for (int head = 0; head < layer_.kv_heads; ++head) {
    ULLAGE_ASSIGN(const HeadRows rows, rows_.rows(Part::key, head, job_.worker()));
    keys.push_back(rows);
  }
  ULLAGE_ASSIGN(const spectrum::ConcatenatedSigma sigma,
                spectrum::concatenated_sigma(queries, keys, kConcatenatedPasses, job_.threads()));
  result.sigma_concatenated = sigma.value;
  result.sigma_concatenated_iterations = sigma.iterations;
  return {};
}

// A layer that several depths share takes the larger of its uses; a figure that one use lacks is
// lacking.
void merge_use(const HeadResult& other, HeadResult& into) {
  std::vector<const Figure*> others;
  for_each_figure(other, [&](const char*, const char*, const Figure& figure, const char*) {
    others.push_back(&figure);
  });
  const bool tighter = other.bounds.certificate.known() && into.bounds.certificate.known() &&
                       other.bounds.certificate.value() > into.bounds.certificate.value();
  if (tighter) into.bounds.certificate_by = other.bounds.certificate_by;
  const auto take_larger = [](const Figure& second, Figure& figure) {
    if (figure.known() && (!second.known() || second.value() > figure.value())) figure = second;
  };
  std::size_t at = 0;
  for_each_figure(into, [&](const char*, const char*, Figure& figure, const char*) {
    take_larger(*others[at++], figure);
  });
  take_larger(other.bounds.expected_before_cap, into.bounds.expected_before_cap);
  into.finite = into.finite && other.finite;
}

Result<LayerOutcome> LayerScan::run() {
  LayerOutcome outcome;
  LayerResult& result = outcome.result;
  result.layer = layer_.layer;
  result.name = layer_.name;
  result.stack = layer_.stack;
  report_vectors();
  const int group = layer_.query_heads / layer_.kv_heads;
  std::optional<spectrum::StreamingSigma> streaming;
  const bool exact =
      rows_.held() && spectrum::concatenates_exactly(static_cast<std::size_t>(layer_.query_heads),
                                                     layer_.query.rows);
  if (!layer_.latent && !exact)
    streaming.emplace(layer_.query.width, layer_.key.width, layer_.query_heads,
                      kConcatenatedPasses);
  for (std::size_t use = 0; use < layer_.inputs.size(); ++use) {
    std::vector<HeadResult> heads(static_cast<std::size_t>(layer_.query_heads));
    for (int head = 0; head < layer_.query_heads; ++head) {
      heads[static_cast<std::size_t>(head)].head = head;
      heads[static_cast<std::size_t>(head)].kv_head = head / group;
    }
    const LayerInput& input = layer_.inputs[use];
    const std::size_t reported = not_finite_.size();
    ULLAGE_TRY(layer_.latent
                   ? scan_latent(input, heads)
                   : scan_attention(input, heads, use == 0 && streaming ? &*streaming : nullptr));
    for (HeadResult& head : heads) {
      const ValueFigures& value = values_[static_cast<std::size_t>(head.kv_head)];
      head.amax_value = value.finite ? value.amax : Figure::none("weights are not finite");
      head.amax_expected_value =
          value.finite ? value.expected : Figure::none("weights are not finite");
      head.finite = head.finite && value.finite;
    }
    if (use == 0) {
      result.heads = std::move(heads);
    } else {
      not_finite_.resize(reported);  // the same tensors once more
      for (std::size_t i = 0; i < heads.size(); ++i) merge_use(heads[i], result.heads[i]);
    }
  }
  for (HeadResult& head : result.heads) {
    if (!context_.no_certificate.empty()) drop_certificates(context_.no_certificate, head);
    if (head.finite) fill_headroom(context_, head);
  }
  ULLAGE_TRY(concatenate(streaming ? &*streaming : nullptr, result));
  outcome.not_finite = std::move(not_finite_);
  return outcome;
}

}  // namespace

Result<LayerOutcome> scan_layer(const checkpoint::Container& container, const LayerContext& context,
                                Job& job, LayerMemory& memory) {
  ULLAGE_ASSIGN(LayerRows rows, LayerRows::open(container, *context.layer, job, memory.rows));
  return LayerScan(context, std::move(rows), job, memory.workspaces).run();
}

}  // namespace ullage::scan
