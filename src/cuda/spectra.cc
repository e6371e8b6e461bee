#include "ullage/cuda/spectra.h"

#include <algorithm>
#include <map>
#include <utility>

#include "cuda/certificate_kernels.h"
#include "cuda/runtime.h"
#include "cuda/sides.h"

namespace ullage::cuda {
namespace {

// Grams that are in memory at a time: those of a 7B model fit.
constexpr std::size_t kMostGramBytes = std::size_t{1} << 30;

// Consecutive pairs with their sides.
struct Batch {
  SideTable sides;
  DeviceMemory pairs;
  int first = 0;
  int count = 0;
};

// What the pairs [first, last) need; `last` is as far as the Grams' memory goes, at least one pair.
struct Slice {
  std::vector<DeviceRows> sides;
  std::vector<HeadPair> pairs;  // indices into `sides`
  std::size_t bytes = 0;
};

Slice slice_from(std::span<const DeviceRows> sides, std::span<const HeadPair> pairs) {
  Slice out;
  std::map<int, int> place;
  for (const HeadPair& pair : pairs) {
    std::size_t more = 0;
    for (const int side : {pair.query, pair.key})
      if (!place.contains(side)) more += gram_bytes(sides[static_cast<std::size_t>(side)]);
    if (!out.pairs.empty() && out.bytes + more > kMostGramBytes) break;
    for (const int side : {pair.query, pair.key}) {
      if (place.emplace(side, static_cast<int>(out.sides.size())).second) {
        out.sides.push_back(sides[static_cast<std::size_t>(side)]);
        out.bytes += gram_bytes(out.sides.back());
      }
    }
    out.pairs.push_back({place[pair.query], place[pair.key]});
  }
  return out;
}

}  // namespace

struct Spectra::Plan {
  std::vector<Batch> batches;
  DeviceMemory grams;
  DeviceMemory scratch;
  DeviceMemory results;
  ProofPlan proofs;
  std::size_t pairs = 0;
};

Spectra::Spectra(std::unique_ptr<Plan> plan) : plan_(std::move(plan)) {}
Spectra::~Spectra() = default;
Spectra::Spectra(Spectra&&) noexcept = default;
Spectra& Spectra::operator=(Spectra&&) noexcept = default;

Result<Spectra> Spectra::make(std::span<const DeviceRows> sides, std::span<const HeadPair> pairs) {
  ULLAGE_TRY(usable());
  ULLAGE_TRY(check_sides(sides));
  ULLAGE_TRY(check_pairs(sides, pairs));
  auto plan = std::make_unique<Plan>();
  plan->pairs = pairs.size();
  int rows = 0;
  for (const DeviceRows& side : sides) rows = std::max(rows, side.rows);
  ULLAGE_ASSIGN(plan->proofs, plan_proofs(rows));
  ULLAGE_ASSIGN(plan->scratch,
                DeviceMemory::allocate(plan->proofs.scratch_bytes *
                                       static_cast<std::size_t>(plan->proofs.blocks)));
  plan->proofs.scratch = plan->scratch.data<double>();
  ULLAGE_ASSIGN(plan->results, DeviceMemory::allocate(pairs.size() * sizeof(PairSpectrum)));

  std::vector<Slice> slices;
  std::size_t most = 0;
  for (std::size_t at = 0; at < pairs.size(); at += slices.back().pairs.size()) {
    slices.push_back(slice_from(sides, pairs.subspan(at)));
    most = std::max(most, slices.back().bytes);
  }
  ULLAGE_ASSIGN(plan->grams, DeviceMemory::allocate(most));
  int first = 0;
  for (const Slice& slice : slices) {
    Batch batch;
    batch.first = first;
    batch.count = static_cast<int>(slice.pairs.size());
    ULLAGE_ASSIGN(batch.sides, SideTable::make(slice.sides, plan->grams.data<double>(), nullptr));
    std::vector<Pair> table;
    for (const HeadPair& pair : slice.pairs)
      table.push_back({batch.sides.on_device() + pair.query, batch.sides.on_device() + pair.key});
    ULLAGE_ASSIGN(batch.pairs, uploaded<Pair>(table, nullptr));
    first += batch.count;
    plan->batches.push_back(std::move(batch));
  }
  return Spectra(std::move(plan));
}

Status Spectra::refresh(Stream stream) {
  for (const Batch& batch : plan_->batches) {
    const Side* sides = batch.sides.on_device();
    const Shape& shape = batch.sides.shape;
    PairSpectrum* out = plan_->results.data<PairSpectrum>() + batch.first;
    ULLAGE_TRY(check(launch_means(sides, shape, stream), "means of rows"));
    ULLAGE_TRY(check(launch_fast_grams(sides, shape, stream), "fast Grams"));
    for (const Round round : {Round::fast, Round::precise}) {
      if (round == Round::precise)
        ULLAGE_TRY(check(launch_precise_grams(sides, shape, stream), "FP64 Grams"));
      ULLAGE_TRY(check(launch_side_proofs(sides, shape.sides, round, plan_->proofs, stream),
                       "bounds on norms"));
      ULLAGE_TRY(check(launch_pair_proofs(batch.pairs.data<Pair>(), batch.count, round,
                                          plan_->proofs, out, stream),
                       "bounds on products"));
    }
  }
  return {};
}

const PairSpectrum* Spectra::on_device() const { return plan_->results.data<PairSpectrum>(); }

Result<std::vector<PairSpectrum>> Spectra::read(Stream stream) const {
  std::vector<PairSpectrum> out(plan_->pairs);
  ULLAGE_TRY(download(on_device(), out.size() * sizeof(PairSpectrum), out.data(), stream));
  return out;
}

}  // namespace ullage::cuda
