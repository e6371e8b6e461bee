// The fast casts: whole blocks without gaps, a warp two blocks at once, in turns of 512 elements whose loads run ahead.
//
// A quad of threads takes 64 consecutive elements of a turn, each thread the sixteen that round_turn.h names, so that it
// adds the errors of both rows of a group itself, and its Philox blocks are its own. What the groups' rows add up to
// goes through shared memory to the sixteen running sums, which take the groups in their order, as the CPU's do.
#include <algorithm>

#include "cuda/cast_kernels.h"
#include "cuda/cast_memory.cuh"
#include "cuda/dependent.cuh"
#include "cuda/round_bf16.h"

namespace ullage::cuda {
namespace {

using formats::kBlock;

// At most; small arrays take fewer, so that they reach every multiprocessor.
constexpr unsigned kThreads = 128;
constexpr unsigned kWarps = kThreads / kWarp;
constexpr unsigned kHalf = kWarp / 2;

// How a warp goes through two blocks at once, blocks 0 and 1: with FP32 each half of it through its own; with narrower
// sources, whose runs would be too short for the memory, all of it through the one and the other by turns.
template <int kSourceBytes>
struct Walk {
  static constexpr unsigned kSlots =
      kSourceBytes == 4 ? 1 : 2;  // turns of an iteration: loads of 64 bytes a thread
  static constexpr unsigned kLanes = kSlots == 1 ? kHalf : kWarp;  // of a block's turn
  static constexpr unsigned kTurnOfBlock = kLanes * kTurn;
  static constexpr unsigned kTurns = kBlock / kTurnOfBlock;
  static constexpr unsigned kGroups = kTurnOfBlock / formats::kGroup;
  // A block's group sums in shared memory; those of block 1 lie 16 banks from those of block 0.
  static constexpr unsigned kSums = kGroups * static_cast<unsigned>(kRow);
  static constexpr unsigned kSecond = kSums + kHalf;
};

template <Body kBody>
constexpr bool kByPairs = kBody == Body::nearest_pairs || kBody == Body::small_pairs;
// As many as their registers allow.
template <Body kBody, bool kStochastic>
constexpr unsigned kBlocksWanted = kByPairs<kBody> ? (kStochastic ? 5 : 7) : (kStochastic ? 4 : 6);

template <Body kBody, bool kStochastic, int kSourceBytes, int kBytes>
__global__ void __launch_bounds__(kThreads, kBlocksWanted<kBody, kStochastic>)
    cast_aligned(const __grid_constant__ CastJob job) {
  using W = Walk<kSourceBytes>;
  __shared__ float4 sums_of_warps[kWarps][(W::kSecond + W::kSums) / 4];
  // A block's sixteen sums wait for those of more blocks, so that a thread each adds them up. Odd rows: no two threads'
  // meet in a bank.
  constexpr unsigned kKept = 16;
  __shared__ float kept_sums[kWarps][kKept][kRow + 1];
  constexpr bool kByStages = kSourceBytes == 2;
  __shared__ alignas(kLine) char stages[kByStages ? kWarps * kStages * kStageBytes : 1];
  __shared__ float values_of_bytes[kSourceBytes == 1 ? 256 : 1];
  let_the_next_start();
  const unsigned warps = blockDim.x / kWarp;
  if constexpr (kSourceBytes == 1) {
    for (unsigned code = threadIdx.x; code < 256; code += blockDim.x)
      values_of_bytes[code] = value_of(job.from, code);
    __syncthreads();
  }
  const unsigned lane = threadIdx.x % kWarp;
  const unsigned half = lane / kHalf;
  const unsigned q = lane % 4;
  const unsigned run = lane % W::kLanes / 4;
  float4* const sums_to = sums_of_warps[threadIdx.x / kWarp];
  // Each half of the warp adds up one block's groups.
  const float* const sums_from = reinterpret_cast<const float*>(sums_to) + half * W::kSecond;
  const std::uint64_t stride = std::uint64_t{gridDim.x} * warps * 2;
  const std::uint64_t offset = 64 * run + 4 * q;
  const bool fp16 = job.kind == Source::fp16;
  auto& kept_of_warp = kept_sums[threadIdx.x / kWarp];
  const bool counts = job.scratch.errors != nullptr;
  if (counts && blockIdx.x == 0 && threadIdx.x == 0) *job.scratch.parts_done = 0;
  // Which of the two blocks a slot of this thread belongs to.
  const auto which = [&](unsigned slot) { return W::kSlots == 1 ? half : slot; };

  Raw<kSourceBytes> ahead[W::kSlots];
  const auto load_ahead = [&](std::uint64_t first, unsigned turn, unsigned slot) {
    const std::uint64_t block = first + which(slot);
    // Zeros where there is no block: they count for nothing.
    ahead[slot] = {};
    if (block < job.end_block)
      load<kSourceBytes>(job.source, block * kBlock + turn * W::kTurnOfBlock + offset, ahead[slot]);
  };
  // The first of the two blocks.
  std::uint64_t first =
      job.first_block + (std::uint64_t{blockIdx.x} * warps + threadIdx.x / kWarp) * 2;
  const unsigned stages_of_warp = threadIdx.x / kWarp * kStages * kStageBytes;
  const unsigned pieces = stages_of_warp + place_of_piece(lane);
  const unsigned rows = stages_of_warp + place_of_rows(run, q);
  // Turn `turn` of the two blocks, or of the next two.
  const auto fetch_ahead = [&](std::uint64_t blocks, unsigned turn) {
    if (turn >= W::kTurns) blocks += stride;
    const char* const from = static_cast<const char*>(job.source) + blocks * kBlock * kSourceBytes +
                             turn % W::kTurns * kTurnBytes + kPiece * lane;
    char* const to = stages + pieces + turn % kStages * kStageBytes;
    if (blocks < job.end_block) fetch(from, to);
    if (blocks + 1 < job.end_block) fetch(from + kBlock * kSourceBytes, to + kTurnBytes);
    end_of_group();
  };
  if constexpr (kByStages) {
#pragma unroll
    for (unsigned turn = 0; turn < kStages; ++turn) fetch_ahead(first, turn);
    wait_for_groups<kStages - 1>();
    __syncwarp();
  } else {
#pragma unroll
    for (unsigned slot = 0; slot < W::kSlots; ++slot) load_ahead(first, 0, slot);
  }
  Tally tally;
  unsigned kept = 0;  // blocks whose sums wait to be added up
  for (; first < job.end_block; first += stride) {
    float sum = 0;  // of place lane % kRow of block `half`
#pragma unroll 1
    for (unsigned turn = 0; turn < W::kTurns; ++turn) {
#pragma unroll
      for (unsigned slot = 0; slot < W::kSlots; ++slot) {
        const std::uint64_t block = first + which(slot);
        const std::uint64_t at = block * kBlock + turn * W::kTurnOfBlock + offset;
        if constexpr (kByStages) {
          ahead[slot] = {};
          if (block < job.end_block)
#pragma unroll
            for (unsigned w = 0; w < 4; ++w)
              ahead[slot].row[w] = *reinterpret_cast<const uint2*>(
                  stages + slot * kTurnBytes + ((rows + turn % kStages * kStageBytes) ^ 32 * w));
        }
        float x[kTurn];
        std::uint32_t x_pairs[kTurn / 2];
        if constexpr (kByPairs<kBody>) {
#pragma unroll
          for (int w = 0; w < 4; ++w) {
            x_pairs[2 * w] = ahead[slot].row[w].x;
            x_pairs[2 * w + 1] = ahead[slot].row[w].y;
          }
        } else {
          expand<kSourceBytes>(ahead[slot], fp16, values_of_bytes, q, x);
          // Code zero need not stand for zero.
          if (kSourceBytes == 1 && block >= job.end_block) {
#pragma unroll
            for (float& value : x) value = 0;
          }
        }
        if constexpr (!kByStages) {
          const bool last = turn + 1 == W::kTurns;
          load_ahead(last ? first + stride : first, last ? 0 : turn + 1, slot);
        }
        std::uint32_t random[kTurn];
        if constexpr (kStochastic) draw_turn(job.options.first_index + at, job.keys, random);
        std::uint32_t words[4 * kBytes];
        float pairs[8];
        if constexpr (kByPairs<kBody>)
          cast_turn_of_pairs<kBody == Body::nearest_pairs, kStochastic>(
              x_pairs, random, job.to, job.parameters, job.pairs, words, pairs, tally);
        else
          cast_turn<kBody, kStochastic, kBytes>(x, random, job.to, job.parameters, job.values,
                                                kSourceBytes != 4, words, pairs, tally);
        store<kBytes>(words, job.codes, at, q, block < job.end_block);
        // Groups 2 run and 2 run + 1, the even ones first: no two threads of a store meet in a bank.
        float4* const to = sums_to + which(slot) * (W::kSecond / 4) + 4 * run + q;
        to[0] = make_float4(pairs[0], pairs[1], pairs[2], pairs[3]);
        to[W::kSums / 8] = make_float4(pairs[4], pairs[5], pairs[6], pairs[7]);
      }
      __syncwarp();
      if constexpr (kByStages) fetch_ahead(first, turn + kStages);  // the turn's own has been taken
#pragma unroll
      for (unsigned group = 0; group < W::kGroups; ++group)
        sum += sums_from[(group % 2 * W::kGroups / 2 + group / 2) * kRow + lane % kRow];
      if constexpr (kByStages) wait_for_groups<kStages - 1>();
      __syncwarp();
    }
    if (!counts) continue;
    kept_of_warp[kept + half][lane % kRow] = sum;
    kept += 2;
    if (kept < kKept && first + stride < job.end_block) continue;
    __syncwarp();
    // Rows 0 and 1 are the two blocks of the first time, and so on.
    const std::uint64_t block = first - (kept / 2 - 1 - lane / 2) * stride + lane % 2;
    if (lane < kept && block < job.end_block) {
      double error = 0;
#pragma unroll
      for (unsigned place = 0; place < kRow; ++place)
        error += static_cast<double>(kept_of_warp[lane][place]);
      job.scratch.errors[block] = error;
    }
    __syncwarp();
    kept = 0;
  }
  const std::uint64_t part = std::uint64_t{blockIdx.x} * warps + threadIdx.x / kWarp;
  if (!counts || job.first_block + 2 * part >= job.end_block) return;
  const std::uint32_t nan = __reduce_add_sync(kAll, tally.nan);
  const std::uint32_t saturated = __reduce_add_sync(kAll, tally.saturated);
  const std::uint32_t flushed = __reduce_add_sync(kAll, tally.flushed);
  // Patterns of magnitudes ascend with them.
  const float amax = float_of(__reduce_max_sync(kAll, bits_of(tally.largest)));
  if (lane == 0)
    job.scratch.parts[job.first_part + part] = {static_cast<double>(amax), nan, saturated, flushed};
}

template <Body kBody, bool kStochastic, int kSourceBytes, int kBytes>
cudaError_t launch(const CastJob& job, cudaStream_t stream, std::uint64_t& parts) {
  int device = 0;
  int multiprocessors = 0;
  int resident = 0;
  cudaError_t error = cudaGetDevice(&device);
  if (error == cudaSuccess)
    error = cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, device);
  if (error == cudaSuccess)
    error = cudaOccupancyMaxActiveBlocksPerMultiprocessor(
        &resident, cast_aligned<kBody, kStochastic, kSourceBytes, kBytes>, kThreads, 0);
  if (error != cudaSuccess) return error;
  const std::uint64_t blocks = job.end_block - job.first_block;
  const std::uint64_t twos = (blocks + 1) / 2;
  const auto processors = static_cast<std::uint64_t>(multiprocessors);
  const std::uint64_t each = std::clamp<std::uint64_t>(twos / processors, 1, kWarps);
  const std::uint64_t most = processors * static_cast<std::uint64_t>(std::max(resident, 1));
  const std::uint64_t grid = std::min((twos + each - 1) / each, most);
  parts = std::min(grid * each, twos);
  cast_aligned<kBody, kStochastic, kSourceBytes, kBytes>
      <<<static_cast<unsigned>(grid), static_cast<unsigned>(each * kWarp), 0, stream>>>(job);
  return cudaGetLastError();
}

template <Body kBody, bool kStochastic, int kSourceBytes>
cudaError_t launch_for(const CastJob& job, cudaStream_t stream, std::uint64_t& parts) {
  if (job.values || job.to.bytes() == 4)
    return launch<kBody, kStochastic, kSourceBytes, 4>(job, stream, parts);
  if constexpr (kBody != Body::prefix)  // FP32's exponents and a sign: never one byte
    if (job.to.bytes() == 1) return launch<kBody, kStochastic, kSourceBytes, 1>(job, stream, parts);
  return launch<kBody, kStochastic, kSourceBytes, 2>(job, stream, parts);
}

template <Body kBody, bool kStochastic>
cudaError_t launch_from(const CastJob& job, cudaStream_t stream, std::uint64_t& parts) {
  if constexpr (takes_bytes(kBody, kStochastic))
    if (job.kind == Source::bytes) return launch_for<kBody, kStochastic, 1>(job, stream, parts);
  return job.kind == Source::fp32 ? launch_for<kBody, kStochastic, 4>(job, stream, parts)
                                  : launch_for<kBody, kStochastic, 2>(job, stream, parts);
}

}  // namespace

cudaError_t launch_cast_aligned(Body body, const CastJob& job, cudaStream_t stream,
                                std::uint64_t& parts) {
  const bool stochastic = job.options.rounding == formats::Rounding::stochastic;
  switch (body) {
    case Body::nearest_pairs:
      return launch<Body::nearest_pairs, false, 2, 1>(job, stream, parts);
    case Body::small_pairs:
      return stochastic ? launch<Body::small_pairs, true, 2, 1>(job, stream, parts)
                        : launch<Body::small_pairs, false, 2, 1>(job, stream, parts);
    case Body::nearest:
      return launch_from<Body::nearest, false>(job, stream, parts);
    case Body::prefix:
      return stochastic ? launch_from<Body::prefix, true>(job, stream, parts)
                        : launch_from<Body::prefix, false>(job, stream, parts);
    default:
      return stochastic ? launch_from<Body::small, true>(job, stream, parts)
                        : launch_from<Body::small, false>(job, stream, parts);
  }
}

}  // namespace ullage::cuda
