#include "ullage/spectrum/pair_spectra.h"

#include <cmath>
#include <limits>
#include <string>

#include "ullage/base/parallel.h"
#include "ullage/spectrum/spectrum.h"

namespace ullage::spectrum {
namespace {

struct SideFigures {
  Gram gram;
  Bounded norm;
  bool finite = false;
};

void make_side(const HeadRows& rows, Arithmetic arithmetic, GramWorkspace& workspace,
               SideFigures& out) {
  out.finite = gram(rows, arithmetic, workspace, out.gram);
  if (!out.finite) return;
  out.norm = bounded_norm(out.gram);
  out.finite = std::isfinite(out.norm.bound);
}

PairSpectrum figures_of(const SideFigures& query, const SideFigures& key) {
  constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
  if (!query.finite || !key.finite)
    return {.sigma = {kNaN, kNaN}, .query = {kNaN, kNaN}, .key = {kNaN, kNaN}, .finite = 0};
  return {.sigma = bounded_sigma(query.gram, query.norm, key.gram, key.norm),
          .query = query.norm,
          .key = key.norm,
          .finite = 1};
}

}  // namespace

Status check_pairs(std::span<const int> rows, std::span<const HeadPair> pairs) {
  if (pairs.empty())
    return Error{Code::value_invalid, "there are no pairs of heads", "pairs", "at least 1", "0"};
  for (std::size_t p = 0; p < pairs.size(); ++p) {
    const std::string where = "pair " + std::to_string(p);
    for (const int side : {pairs[p].query, pairs[p].key}) {
      if (side < 0 || static_cast<std::size_t>(side) >= rows.size())
        return Error{Code::value_invalid, "a pair names no side", where,
                     "0 to " + std::to_string(rows.size() - 1), std::to_string(side)};
    }
    const int query = rows[static_cast<std::size_t>(pairs[p].query)];
    const int key = rows[static_cast<std::size_t>(pairs[p].key)];
    if (query != key)
      return Error{Code::value_invalid, "the sides of a pair differ in rows", where,
                   std::to_string(query), std::to_string(key)};
  }
  return {};
}

Result<std::vector<PairSpectrum>> pair_spectra(std::span<const HeadRows> sides,
                                               std::span<const HeadPair> pairs, int threads) {
  std::vector<int> rows;
  for (const HeadRows& side : sides) rows.push_back(side.rows);
  ULLAGE_TRY(check_pairs(rows, pairs));
  if (threads <= 0) threads = default_threads();
  std::vector<GramWorkspace> workspaces(static_cast<std::size_t>(threads));
  std::vector<SideFigures> figures(sides.size());
  parallel_for(sides.size(), threads, [&](std::size_t s, int worker) {
    make_side(sides[s], Arithmetic::fast, workspaces[static_cast<std::size_t>(worker)], figures[s]);
  });
  std::vector<PairSpectrum> out(pairs.size());
  parallel_for(pairs.size(), threads, [&](std::size_t p, int worker) {
    const auto query = static_cast<std::size_t>(pairs[p].query);
    const auto key = static_cast<std::size_t>(pairs[p].key);
    out[p] = figures_of(figures[query], figures[key]);
    if (out[p].finite == 0 || !needs_precise(out[p].sigma, out[p].query, out[p].key)) return;
    GramWorkspace& workspace = workspaces[static_cast<std::size_t>(worker)];
    SideFigures precise_query;
    SideFigures precise_key;
    make_side(sides[query], Arithmetic::precise, workspace, precise_query);
    make_side(sides[key], Arithmetic::precise, workspace, precise_key);
    out[p] = figures_of(precise_query, precise_key);
    out[p].precise = 1;
  });
  return out;
}

}  // namespace ullage::spectrum
