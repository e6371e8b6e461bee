#include "ullage/scan_page.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <set>

#include "ullage/formats/format.h"
#include "ullage/report/numbers.h"
#include "ullage/report/page.h"
#include "ullage/scan_arguments.h"
#include "ullage/scan_table.h"

namespace ullage::apps {
namespace {

using report::Place;
using report::Section;
using report::Tone;
using scan::Figure;
using scan::HeadBounds;
using scan::HeadResult;
using scan::LayerResult;
using scan::ScanResult;

constexpr double kMissing = std::numeric_limits<double>::quiet_NaN();
// More points than this a curve cannot be told from all of them on a screen.
constexpr std::size_t kCurvePoints = 128;
// Above so many heads the page leaves spectra out: they would be most of its bytes.
constexpr std::size_t kMaxHeadsWithSpectra = 2048;

double number(const Figure& figure) { return figure.known() ? figure.value() : kMissing; }

struct HeadRow {
  const LayerResult* layer;
  const HeadResult* head;
};

std::vector<HeadRow> rows_of(const ScanResult& result) {
  std::vector<HeadRow> rows;
  for (const LayerResult& layer : result.layers)
    for (const HeadResult& head : layer.heads) rows.push_back({&layer, &head});
  return rows;
}

// Layers of one stack and tower share a chart axis only with their own kind; a name tells them apart.
std::vector<std::string> layer_labels(const ScanResult& result) {
  std::map<int, int> uses;
  for (const LayerResult& layer : result.layers) ++uses[layer.layer];
  const bool unique =
      std::all_of(uses.begin(), uses.end(), [](const auto& use) { return use.second == 1; });
  std::vector<std::string> labels;
  for (const LayerResult& layer : result.layers)
    labels.push_back(unique ? std::to_string(layer.layer) : layer.name);
  return labels;
}

std::string heads_text(std::size_t count) {
  return report::format_count(count) + (count == 1 ? " head" : " heads");
}

std::vector<report::Card> cards_of(const ScanResult& result) {
  std::vector<report::Card> cards;
  if (result.worst) {
    const double bits = result.worst->headroom_bits;
    cards.push_back({"Least headroom", fmt::format("{} bits", report::format_fixed(bits, 1)),
                     fmt::format("layer {}, head {}, unscaled logits in {}", result.worst->layer,
                                 result.worst->head, result.format),
                     headroom_tone(bits)});
  }
  for (const std::string& name : formats_shown(result)) {
    const Verdict verdict = verdict_of(result, formats::find_format(name)->max_finite());
    const report::Cell word = verdict_cell(verdict);
    std::string detail = word.text;
    if (verdict.over > 0) detail = fmt::format("{} can overflow", heads_text(verdict.over));
    if (verdict.unknown > 0) detail += fmt::format(", {} unknown", heads_text(verdict.unknown));
    cards.push_back({fmt::format("Logits in {}", name),
                     fmt::format("{} of {} certified", verdict.safe, result.heads()), detail,
                     word.tone});
  }
  cards.push_back({"Heads", report::format_count(result.heads()),
                   fmt::format("{} attention layers, {}", result.layers.size(), result.model_type),
                   Tone::plain});
  cards.push_back({"Context", report::format_count(static_cast<std::uint64_t>(result.context)),
                   fmt::format("tokens{}; P = {} a head and sequence",
                               result.context_assumed ? " (assumed)" : "",
                               report::format_shortest(result.probability)),
                   Tone::plain});
  return cards;
}

std::vector<report::Note> notes_of(const ScanResult& result) {
  std::vector<report::Note> notes;
  for (const scan::NotFinite& bad : result.not_finite)
    notes.push_back({fmt::format("{} NaN or infinite values in {}", bad.count, bad.tensor) +
                         (bad.head >= 0 ? fmt::format(", head {}", bad.head) : ""),
                     Tone::bad});
  for (const std::string& assumption : result.assumptions)
    notes.push_back({"Assumed: " + assumption, Tone::warn});
  notes.push_back({kNoLogitSlot, Tone::plain});
  return notes;
}

// sigma by layer, the first figure of [R], with the spread over heads that one figure a layer hides.
report::LineChart sigma_chart(const ScanResult& result) {
  report::LineChart chart;
  chart.heading = {
      "Sigma by layer",
      "Largest singular value of W_Q^T W_K. The concatenated figure is the published one of a "
      "layer; it bounds no head. Heads are the stored weights of each head alone."};
  chart.x_label = "layer";
  chart.y_label = "sigma";
  chart.categories = layer_labels(result);
  chart.y_scale = report::Scale::logarithmic;
  report::Series concatenated{.name = "concatenated heads"}, most{.name = "largest head"},
      median{.name = "median head"}, least{.name = "smallest head"};
  std::int32_t record = 0;
  for (const LayerResult& layer : result.layers) {
    std::vector<std::pair<double, std::int32_t>> values;
    for (const HeadResult& head : layer.heads) {
      const Figure& sigma = head.sigma_weights.known() ? head.sigma_weights : head.sigma;
      if (sigma.known() && sigma.value() > 0) values.emplace_back(sigma.value(), record);
      ++record;
    }
    std::sort(values.begin(), values.end());
    const auto put = [&](report::Series& series, std::size_t at) {
      series.y.push_back(values.empty() ? kMissing : values[at].first);
      series.records.push_back(values.empty() ? report::kNoRecord : values[at].second);
    };
    put(most, values.empty() ? 0 : values.size() - 1);
    put(median, values.size() / 2);
    put(least, 0);
    const Figure& sum = layer.sigma_concatenated;
    concatenated.y.push_back(sum.known() && sum.value() > 0 ? sum.value() : kMissing);
  }
  chart.series = {concatenated, most, median, least};
  return chart;
}

report::HeatMap heat_map(const ScanResult& result) {
  report::HeatMap map;
  map.heading = {"Headroom of every head",
                 "log2(format maximum / expected largest |logit|): how many doublings are left "
                 "before unscaled "
                 "logits overflow. Select a cell to see its bounds."};
  map.row_label = "layer";
  map.column_label = "head";
  map.value_label = "headroom, bits";
  map.rows = layer_labels(result);
  std::size_t widest = 0;
  for (const LayerResult& layer : result.layers) widest = std::max(widest, layer.heads.size());
  for (std::size_t i = 0; i < widest; ++i) map.columns.push_back(std::to_string(i));
  map.records.assign(map.rows.size() * widest, report::kNoRecord);
  map.palette = report::Palette::diverging;
  map.threshold = 0;
  map.threshold_label = "expected to overflow";
  std::vector<std::string> names = {result.format};
  for (const char* name : scan::kReportedFormats)
    if (name != result.format) names.emplace_back(name);
  for (const std::string& name : names) {
    report::HeatLayer layer{
        .name = name, .values = std::vector<double>(map.records.size(), kMissing), .missing = {}};
    const double max = formats::find_format(name)->max_finite();
    std::int32_t record = 0;
    for (std::size_t row = 0; row < result.layers.size(); ++row)
      for (std::size_t column = 0; column < result.layers[row].heads.size(); ++column) {
        const std::size_t at = row * widest + column;
        const Figure bits = scan::headroom_bits(result.layers[row].heads[column], max);
        layer.values[at] = number(bits);
        if (!bits.known()) layer.missing.push_back({at, bits.why()});
        map.records[at] = record++;
      }
    map.layers.push_back(std::move(layer));
  }
  return map;
}

struct Bar {
  const char* name;
  Figure HeadBounds::* figure;
};
constexpr Bar kBars[] = {
    {"naive", &HeadBounds::naive},
    {"interaction", &HeadBounds::interaction},
    {"augmented", &HeadBounds::augmented},
    {"rope", &HeadBounds::rope},
    {"qk_norm", &HeadBounds::qk_norm},
    {"clip", &HeadBounds::clip},
    {"latent", &HeadBounds::latent},
    {"certificate, BF16", &HeadBounds::certificate_bf16},
    {"certificate, E4M3", &HeadBounds::certificate_e4m3},
    {"rank-aware [R]", &HeadBounds::rank_aware},
    {"rank-agnostic [R]", &HeadBounds::rank_agnostic},
    {"expected, i != j", &HeadBounds::expected_off_diagonal},
    {"expected, i = j", &HeadBounds::expected_diagonal},
    {"expected", &HeadBounds::expected},
};

report::LinkedBars bounds_bars(const std::vector<HeadRow>& rows) {
  report::LinkedBars bars;
  bars.heading = {"Bounds of the selected head",
                  "The smallest certificate is the one that binds. Expected figures are an "
                  "estimate under the isotropic "
                  "model, never a guarantee."};
  bars.value_label = "largest |logit|";
  // Only the bounds that some head of this checkpoint has.
  std::vector<Bar> present;
  for (const Bar& bar : kBars)
    if (std::any_of(rows.begin(), rows.end(),
                    [&](const HeadRow& row) { return (row.head->bounds.*bar.figure).known(); }))
      present.push_back(bar);
  for (const Bar& bar : present) bars.names.emplace_back(bar.name);
  for (const HeadRow& row : rows) {
    std::int32_t binds = report::kNoRecord;
    for (std::size_t i = 0; i < present.size(); ++i) {
      const Figure& figure = row.head->bounds.*present[i].figure;
      if (!figure.known()) bars.missing.push_back({bars.values.size(), figure.why()});
      bars.values.push_back(number(figure));
      if (row.head->bounds.certificate_by == present[i].name) binds = static_cast<std::int32_t>(i);
    }
    bars.highlights.push_back(binds);
  }
  bars.highlight_label = "binds";
  for (const char* name : scan::kReportedFormats) {
    const double max = formats::find_format(name)->max_finite();
    bars.marks.push_back({max, fmt::format("{} max {}", name, report::format_significant(max, 3))});
  }
  return bars;
}

std::optional<report::LinkedCurves> spectra(const std::vector<HeadRow>& rows) {
  std::size_t longest = 0;
  for (const HeadRow& row : rows) longest = std::max(longest, row.head->singular_values.size());
  if (longest == 0 || rows.size() > kMaxHeadsWithSpectra) return std::nullopt;
  report::LinkedCurves curves;
  curves.heading = {"Spectrum of the selected head",
                    "Singular values of the folded product A^T B, largest first."};
  curves.x_label = "index";
  curves.y_label = "singular value";
  curves.names = {"singular value"};
  const std::vector<std::size_t> keep = report::thin_indices(longest, kCurvePoints);
  for (const std::size_t i : keep) curves.x.push_back(static_cast<double>(i + 1));
  for (const HeadRow& row : rows) {
    std::vector<double> values;
    for (const std::size_t i : keep)
      if (i < row.head->singular_values.size())
        values.push_back(report::round_to_digits(row.head->singular_values[i], 4));
    curves.values.push_back(std::move(values));
  }
  return curves;
}

report::DataTable head_table(const ScanResult& result, const std::vector<HeadRow>& rows) {
  report::DataTable table;
  table.heading = {"Every head", "Sort by a header; select a row to see its bounds above."};
  const auto text_column = [&](const char* title, const char* about, auto get) {
    report::DataColumn column;
    column.title = title;
    column.about = about;
    for (const HeadRow& row : rows) column.texts.push_back(get(row));
    table.columns.push_back(std::move(column));
  };
  const auto number_column = [&](const char* title, const std::string& about, int digits,
                                 auto get) {
    report::DataColumn column;
    column.title = title;
    column.about = about;
    column.digits = digits;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const Figure figure = get(rows[i]);
      if (!figure.known()) column.missing.push_back({i, figure.why()});
      column.numbers.push_back(number(figure));
    }
    table.columns.push_back(std::move(column));
  };
  number_column("layer", "", 6, [](const HeadRow& row) { return Figure(row.layer->layer); });
  number_column("head", "", 6, [](const HeadRow& row) { return Figure(row.head->head); });
  text_column("attention", "the module that holds q and k",
              [](const HeadRow& row) { return row.layer->name; });
  const double max = formats::find_format(result.format)->max_finite();
  number_column("bits", fmt::format("headroom of unscaled logits in {}", result.format), 3,
                [max](const HeadRow& row) { return scan::headroom_bits(*row.head, max); });
  for (std::size_t i = 0; i < rows.size(); ++i)
    table.columns.back().tones.push_back(headroom_tone(scan::headroom_bits(*rows[i].head, max)));
  const auto bound_column = [&](const char* title, const std::string& about, auto get) {
    number_column(title, about, 4, get);
    table.columns.back().above = true;
  };
  bound_column("certificate", "no input exceeds it",
               [](const HeadRow& row) { return row.head->bounds.certificate; });
  text_column("by", "the bound that binds",
              [](const HeadRow& row) { return row.head->bounds.certificate_by; });
  number_column("expected", "isotropic model", 4,
                [](const HeadRow& row) { return row.head->bounds.expected; });
  number_column("sigma", "largest singular value of the folded product", 4,
                [](const HeadRow& row) { return row.head->sigma; });
  number_column("stable rank", "|M|_F^2 / sigma^2", 3,
                [](const HeadRow& row) { return row.head->stable_rank; });
  bound_column("amax q", "certificate, as quantised",
               [](const HeadRow& row) { return row.head->amax_query; });
  bound_column("amax k", "certificate, as quantised",
               [](const HeadRow& row) { return row.head->amax_key; });
  bound_column("amax v", "certificate, as quantised",
               [](const HeadRow& row) { return row.head->amax_value; });
  for (std::size_t i = 0; i < rows.size(); ++i)
    table.records.push_back(static_cast<std::int32_t>(i));
  table.sorted = report::Sorting{3, false};
  return table;
}

report::DataTable descale_table(const ScanResult& result) {
  report::DataTable table;
  table.heading = {
      fmt::format("Descales for {} by layer", result.format),
      "x is about x_fp8 times its descale. Certificate: cannot saturate; expected: an estimate."};
  report::DataColumn layer{.title = "layer"}, name{.title = "attention"};
  for (const LayerResult& row : result.layers) {
    layer.numbers.push_back(row.layer);
    name.texts.push_back(row.name);
  }
  table.columns = {layer, name};
  struct Pair {
    const char* name;
    scan::DescalePair LayerResult::* pair;
  };
  for (const Pair& pair :
       {Pair{"q", &LayerResult::descale_query}, Pair{"k", &LayerResult::descale_key},
        Pair{"v", &LayerResult::descale_value}, Pair{"logits", &LayerResult::descale_logits}})
    for (const bool certified : {true, false}) {
      report::DataColumn column{
          .title = fmt::format("{} {}", pair.name, certified ? "certificate" : "expected"),
          .above = certified};
      for (const LayerResult& row : result.layers) {
        const Figure& figure = certified ? (row.*pair.pair).certificate : (row.*pair.pair).expected;
        if (!figure.known()) column.missing.push_back({column.numbers.size(), figure.why()});
        column.numbers.push_back(number(figure));
      }
      table.columns.push_back(std::move(column));
    }
  return table;
}

}  // namespace

Result<std::string> scan_page(const ScanResult& result) {
  const std::vector<HeadRow> rows = rows_of(result);
  report::Page page;
  page.title = fmt::format("Headroom of {}", result.checkpoint);
  page.subtitle =
      fmt::format("{}, {} heads, from the weights alone", result.model_type, rows.size());
  page.footer = fmt::format("ullage {}", result.version);
  page.cards = cards_of(result);
  page.notes = notes_of(result);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const LayerResult& layer = *rows[i].layer;
    page.records.push_back({fmt::format("{}.{}", layer.layer, rows[i].head->head),
                            fmt::format("{}, head {}", layer.name, rows[i].head->head)});
    if (result.worst && layer.name == result.worst->name &&
        rows[i].head->head == result.worst->head)
      page.selected = static_cast<std::int32_t>(i);
  }
  // Several stacks use one depth twice: their records are told apart by their place.
  std::set<std::string> seen;
  for (std::size_t i = 0; i < page.records.size(); ++i)
    if (!seen.insert(page.records[i].key).second) page.records[i].key += fmt::format(".{}", i);
  page.sections.push_back({sigma_chart(result), Place::full});
  page.sections.push_back({heat_map(result), Place::left});
  page.sections.push_back({bounds_bars(rows), Place::right});
  if (auto curves = spectra(rows)) page.sections.push_back({std::move(*curves), Place::right});
  page.sections.push_back({head_table(result, rows), Place::full});
  page.sections.push_back({descale_table(result), Place::full});
  return report::to_html(page);
}

}  // namespace ullage::apps
