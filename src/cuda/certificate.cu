// Proofs on the device: spectrum::bounded_norm and spectrum::bounded_sigma, one block a side or a pair.
//
// The steps and error terms are those of src/spectrum/certificate.cc and ullage/spectrum/error_terms.h; the closing
// operations round upwards.
#include <cuda_runtime.h>
#include <math_constants.h>

#include <algorithm>

#include "cuda/certificate_kernels.h"
#include "cuda/dense.cuh"
#include "cuda/runtime.h"
#include "ullage/spectrum/error_terms.h"

namespace ullage::cuda {
namespace {

using spectrum::Bounded;

constexpr int kSharedMost = 128;  // larger matrices stay in global memory

// Rows of a matrix in shared memory are one apart beyond its size, so that columns meet in no bank.
constexpr int kSharedStride = kSharedMost + 1;
constexpr int kSharedBytes = kSharedMost * kSharedStride * static_cast<int>(sizeof(double));

// x (1 + 64 u) rounded up, as spectrum::round_up.
__device__ double round_up(double x) {
  if (x == 0.0) return 0.0;
  return nextafter(__dmul_ru(x, 1.0 + 64.0 * spectrum::kU64), CUDART_INF);
}
__device__ double root_up(double x) { return round_up(__dsqrt_ru(x)); }
__device__ double raised(double x, int exponent) {
  const double out = ldexp(x, exponent);
  return x > 0.0 && out < 0x1p-1000 ? nextafter(out, CUDART_INF) : out;
}

// A Gram in units of 4^half_exponent, its trace in [1, 4) but for a factor of 4.
struct Scaled {
  const double* gram;
  int extent;
  int half_exponent;
  double unit;   // 2^-half_exponent
  double trace;  // in units, from above
  bool zero;
};

__device__ Scaled scaled(const Side& side) {
  const int extent = extent_of(side.rows.rows);
  Scaled out{side.gram, extent, 0, 1.0, 0.0, side.state->trace == 0.0};
  if (out.zero) return out;
  out.half_exponent = static_cast<int>(floor(ilogb(side.state->trace) / 2.0));
  out.unit = ldexp(1.0, -out.half_exponent);
  out.trace = side.state->trace * out.unit * out.unit * spectrum::trace_rounding(extent);
  return out;
}

// This block's matrices: one to work in, and two in global memory.
struct Workspace {
  double* work;
  int stride;
  double* first;
  double* second;
  DenseScratch* scratch;
};

__device__ Workspace workspace(const ProofPlan& plan, char* shared) {
  const std::size_t square = static_cast<std::size_t>(plan.extent) * plan.extent;
  double* global =
      plan.scratch + static_cast<std::size_t>(blockIdx.x) * plan.scratch_bytes / sizeof(double);
  auto* scratch = reinterpret_cast<DenseScratch*>(shared);
  if (plan.extent <= kSharedMost) {
    constexpr std::size_t kAfter = (sizeof(DenseScratch) + 15) / 16 * 16;
    return {reinterpret_cast<double*>(shared + kAfter), kSharedStride, global, global + square,
            scratch};
  }
  return {global + 2 * square, plan.extent, global, global + square, scratch};
}

// body(row, column) over an extent x extent matrix, neighbouring threads on neighbouring columns.
template <class Body>
__device__ void each_entry(int extent, Body body) {
  for (int at = static_cast<int>(threadIdx.x); at < extent * extent; at += kDenseThreads)
    body(at / extent, at % extent);
}

// Whether tau I - x has a Cholesky factor; x(row, column) gives its entries.
template <class Entry>
__device__ bool below(Entry x, double tau, int extent, const Workspace& space) {
  __syncthreads();
  each_entry(extent, [&](int i, int j) {
    if (j <= i) space.work[i * space.stride + j] = i == j ? tau - x(i, j) : -x(i, j);
  });
  return factor(space.work, space.stride, extent, *space.scratch);
}

// A tau with the largest eigenvalue of x at most tau + proof_slack; at most `certain`, which bounds it.
template <class Entry>
__device__ double proved_above(Entry x, double estimate, double slack, double certain, int extent,
                               const Workspace& space) {
  for (double margin = spectrum::kFirstMargin; margin < 1.0; margin *= spectrum::kWiden) {
    const double tau = spectrum::tau_at(estimate, slack, margin);
    if (!(tau < certain)) return certain;
    if (below(x, tau, extent, space)) return tau;
  }
  return certain;
}

__device__ double trace_of(const Side& side, DenseScratch& scratch) {
  const int extent = extent_of(side.rows.rows);
  double sum = 0.0;
  for (int i = static_cast<int>(threadIdx.x); i < side.rows.rows; i += kDenseThreads)
    sum += side.gram[i * extent + i];
  return block_sum(sum, scratch.sums);
}

// |means|^2 of the rows' projected means.
__device__ double means_squared(const Side& side, DenseScratch& scratch) {
  double sum = 0.0;
  if (side.rows.project_mean) {
    for (int i = static_cast<int>(threadIdx.x); i < side.rows.rows; i += kDenseThreads)
      sum += static_cast<double>(side.means[i]) * static_cast<double>(side.means[i]);
  }
  return block_sum(sum, scratch.sums);
}

__device__ double inflation_of(const Side& side, Round round, double trace, double means) {
  spectrum::GramErrors errors =
      round == Round::fast ? fast_errors(side.rows, __dsqrt_ru(trace)) : precise_errors(side.rows);
  // Squares of BF16 and FP32 numbers do not vanish in FP64: the rows of such a Gram are zero.
  if (trace == 0.0 && side.rows.gain == nullptr && side.rows.element != spectrum::Element::f64)
    errors.floor = 0.0;
  const double squares = trace * (1.0 + 2.0 * errors.sum_unit);
  return spectrum::gram_inflation(errors, side.rows.rows, __dsqrt_ru(squares),
                                  __dsqrt_ru(squares + side.rows.width * means));
}

__device__ void prove_norm(const Side& side, const Workspace& space) {
  const Scaled a = scaled(side);
  if (a.zero) {
    if (threadIdx.x == 0) {
      side.state->estimate = 0.0;
      side.state->bound = root_up(side.state->inflation);
    }
    return;
  }
  const double square_unit = a.unit * a.unit;
  const auto entry = [&](int i, int j) { return a.gram[i * a.extent + j] * square_unit; };
  const double estimate =
      largest_estimate(a.gram, a.extent, a.extent, *space.scratch) * square_unit;
  const double input = spectrum::kGivenUnit * a.trace;
  const double tau = proved_above(entry, estimate, input, a.trace, a.extent, space);
  if (threadIdx.x == 0) {
    const double square = tau + input + spectrum::proof_slack(a.extent, tau);
    const double bound = raised(root_up(square), a.half_exponent);
    side.state->estimate = ldexp(sqrt(fmax(estimate, 0.0)), a.half_exponent);
    side.state->bound = round_up(hypot(bound, root_up(side.state->inflation)));
  }
}

__global__ void __launch_bounds__(kDenseThreads, 1)
    side_proofs(const Side* sides, int count, Round round, ProofPlan plan) {
  extern __shared__ char shared[];
  const Workspace space = workspace(plan, shared);
  for (int s = static_cast<int>(blockIdx.x); s < count; s += static_cast<int>(gridDim.x)) {
    const Side& side = sides[s];
    SideState& state = *side.state;
    __syncthreads();
    if (round == Round::precise && state.wanted == 0) continue;
    const bool narrow = side.rows.element != spectrum::Element::f64;
    const double trace = narrow || round == Round::precise ? trace_of(side, *space.scratch) : 0.0;
    const double means = means_squared(side, *space.scratch);
    const bool finite = isfinite(trace) && isfinite(means);
    const bool fits =
        round == Round::precise ? finite : narrow && finite && spectrum::fast_trace(trace);
    if (threadIdx.x == 0) {
      state.trace = trace;
      state.inflation = fits ? inflation_of(side, round, trace, means) : 0.0;
      state.fits = fits;
      state.finite = finite;
      state.precise = round == Round::precise;
      if (round == Round::fast) state.wanted = 0;
    }
    __syncthreads();
    if (fits) prove_norm(side, space);
  }
}

// Factors a's Gram, shifted until it is positive definite; returns the shift, or a negative number where no shift
// below the trace helps.
__device__ double shifted_factor(const Scaled& a, const Workspace& space) {
  constexpr int kAttempts = 30;
  double shift = spectrum::factor_shift(a.extent, a.trace);
  for (int attempt = 0; attempt < kAttempts; ++attempt, shift *= spectrum::kWiden) {
    __syncthreads();
    each_entry(a.extent, [&](int i, int j) {
      const double value = a.gram[i * a.extent + j] * a.unit * a.unit;
      space.work[i * space.stride + j] = i > j ? value : i == j ? value + shift : 0.0;
    });
    if (factor(space.work, space.stride, a.extent, *space.scratch)) return shift;
  }
  return -1.0;
}

// sigma of the Grams as they are, in the units of their exponents, without their inflations.
__device__ Bounded prove_sigma(const Scaled& a, const Scaled& b, const Workspace& space) {
  const int n = a.extent;
  const double certain = spectrum::certain_square(n, a.trace, b.trace);
  const double shift_a = shifted_factor(a, space);
  if (shift_a < 0.0) return {0.0, certain};
  const double shift_b = spectrum::factor_shift(n, b.trace);
  // (G_B + shift I) L, then L^T of it. Above L's diagonal stand zeros.
  each_entry(n, [&](int i, int j) {
    const double value = b.gram[i * n + j] * b.unit * b.unit;
    space.first[i * n + j] = i == j ? value + shift_b : value;
  });
  __syncthreads();
  transposed_product(space.first, n, space.work, space.stride, space.second, n, n);
  transposed_product(space.work, space.stride, space.second, n, space.first, n, n);
  const double* x = space.first;
  const double estimate = fmax(largest_estimate(x, n, n, *space.scratch), 0.0);
  const double product = spectrum::product_slack(n, a.trace + n * shift_a, b.trace + n * shift_b);
  // Symmetric but for rounding, which product_slack covers: the lower triangle is the matrix.
  const double tau = proved_above([&](int i, int j) { return x[i * n + j]; }, estimate, product,
                                  certain, n, space);
  return {estimate, fmin(certain, tau + product + spectrum::proof_slack(n, tau))};
}

__global__ void __launch_bounds__(kDenseThreads, 1)
    pair_proofs(const Pair* pairs, int count, Round round, ProofPlan plan, PairSpectrum* results) {
  extern __shared__ char shared[];
  const Workspace space = workspace(plan, shared);
  for (int p = static_cast<int>(blockIdx.x); p < count; p += static_cast<int>(gridDim.x)) {
    const Side& query = *pairs[p].query;
    const Side& key = *pairs[p].key;
    PairSpectrum& out = results[p];
    __syncthreads();
    if (round == Round::precise && out.precise == 0) continue;
    const bool known = query.state->fits != 0 && key.state->fits != 0;
    Bounded square = {0.0, 0.0};
    int half = 0;
    if (known) {
      const Scaled a = scaled(query);
      const Scaled b = scaled(key);
      half = a.half_exponent + b.half_exponent;
      if (!a.zero && !b.zero) square = prove_sigma(a, b, space);
    }
    if (threadIdx.x != 0) continue;
    const SideState& a = *query.state;
    const SideState& b = *key.state;
    out.finite = known || round == Round::fast ? 1 : 0;
    out.precise = round == Round::precise;
    const double nan = CUDART_NAN;
    out.query = known ? Bounded{a.estimate, a.bound} : Bounded{nan, nan};
    out.key = known ? Bounded{b.estimate, b.bound} : Bounded{nan, nan};
    if (known) {
      out.sigma.estimate = ldexp(sqrt(square.estimate), half);
      const double own = raised(root_up(square.bound), half);
      // G_A <= G^_A + h_a I gives |A^T B|^2 <= |F^T B|^2 + h_a |B|^2, and the same step for B leaves h_b |F|^2.
      const double rest = spectrum::kShiftShare *
                          hypot(root_up(a.inflation) * b.bound, root_up(b.inflation) * a.bound);
      out.sigma.bound = fmin(round_up(hypot(own, rest)), round_up(a.bound * b.bound));
    } else {
      out.sigma = {nan, nan};
    }
    if (round == Round::precise) continue;
    if (!known ||
        spectrum::too_coarse(out.sigma.estimate, out.sigma.bound, a.estimate, b.estimate)) {
      out.precise = 1;
      query.state->wanted = 1;
      key.state->wanted = 1;
    }
  }
}

constexpr int shared_bytes(int extent) {
  const int scratch = (static_cast<int>(sizeof(DenseScratch)) + 15) / 16 * 16;
  return scratch + (extent <= kSharedMost ? kSharedBytes : 0);
}

}  // namespace

Result<ProofPlan> plan_proofs(int rows) {
  ProofPlan plan;
  plan.extent = extent_of(rows);
  for (const auto& allow :
       {cudaFuncSetAttribute(side_proofs, cudaFuncAttributeMaxDynamicSharedMemorySize,
                             shared_bytes(plan.extent)),
        cudaFuncSetAttribute(pair_proofs, cudaFuncAttributeMaxDynamicSharedMemorySize,
                             shared_bytes(plan.extent))})
    ULLAGE_TRY(check(allow, "asking for shared memory"));
  int device = 0;
  int multiprocessors = 0;
  ULLAGE_TRY(check(cudaGetDevice(&device), "choosing a GPU"));
  ULLAGE_TRY(check(cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, device),
                   "asking a GPU"));
  int resident = 0;
  ULLAGE_TRY(check(cudaOccupancyMaxActiveBlocksPerMultiprocessor(
                       &resident, pair_proofs, kDenseThreads, shared_bytes(plan.extent)),
                   "planning a launch"));
  plan.blocks = multiprocessors * std::max(resident, 1);
  const std::size_t square = static_cast<std::size_t>(plan.extent) * plan.extent * sizeof(double);
  plan.scratch_bytes = (plan.extent <= kSharedMost ? 2 : 3) * square;
  return plan;
}

cudaError_t launch_side_proofs(const Side* sides, int count, Round round, const ProofPlan& plan,
                               cudaStream_t stream) {
  side_proofs<<<std::min(count, plan.blocks), kDenseThreads, shared_bytes(plan.extent), stream>>>(
      sides, count, round, plan);
  return cudaGetLastError();
}

cudaError_t launch_pair_proofs(const Pair* pairs, int count, Round round, const ProofPlan& plan,
                               PairSpectrum* out, cudaStream_t stream) {
  pair_proofs<<<std::min(count, plan.blocks), kDenseThreads, shared_bytes(plan.extent), stream>>>(
      pairs, count, round, plan, out);
  return cudaGetLastError();
}

}  // namespace ullage::cuda
