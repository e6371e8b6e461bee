// What the kernels of a cast are launched with. cast.cc decides; the kernels loop.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "cuda/round_bf16.h"
#include "ullage/formats/cast.h"
#include "ullage/formats/cast_parameters.h"

namespace ullage::cuda {

// What one warp or block of threads met in all its elements.
struct Part {
  double amax;
  std::uint32_t nan, saturated, flushed;
};
// What a block of threads of the counts' kernel has of its parts.
struct Totals {
  double amax;
  std::uint64_t nan, saturated, flushed;
};
// Chunks that a block of threads of the counts' kernel adds up, a warp each; and as many parts as these have blocks.
inline constexpr std::uint64_t kChunksAtOnce = 32;
inline constexpr std::uint64_t kBlocksOfChunk = formats::kChunk / formats::kBlock;
inline constexpr std::uint64_t kBlocksAtOnce = kChunksAtOnce * kBlocksOfChunk;

// Memory for counts on their way. All null where none are wanted.
struct Scratch {
  std::uint32_t* parts_done = nullptr;
  double* errors = nullptr;  // of blocks of kBlock elements
  double* chunks = nullptr;  // errors of kChunk elements
  Part* parts = nullptr;     // no more than blocks
  Totals* totals = nullptr;  // one for kBlocksAtOnce
};

enum class Source : std::uint8_t { fp64, fp32, bf16, fp16, bytes, codes };

struct Layout {
  bool contiguous = true;
  int rank = 0;
  std::int64_t shape[formats::kMaxRank] = {};
  std::int64_t strides[formats::kMaxRank] = {};  // in elements
};

// One launch casts blocks [first_block, end_block); the last may be short.
struct CastJob {
  const void* source = nullptr;
  Source kind = Source::fp32;
  formats::Format from = formats::kFp32;
  formats::Format to;
  void* codes = nullptr;
  bool values = false;  // FP32 values instead of codes
  formats::CastOptions options = {.overflow = formats::Overflow::saturate};
  CastParameters parameters;
  PairParameters pairs;  // of bodies by pairs
  Keys keys;             // of stochastic rounding
  std::uint64_t elements = 0;
  std::uint64_t first_block = 0;
  std::uint64_t end_block = 0;
  std::uint64_t first_part = 0;  // of those that the launch leaves in scratch
  Scratch scratch;
};

// Whole blocks without gaps to formats with turns (round_turn.h), source and codes aligned to 16 bytes,
// options.first_index a multiple of 64. A warp takes a block. The source is FP32, BF16 or FP16; or of bytes, where
// takes_bytes(); bodies by pairs: BF16, to codes of formats with has_pairs().
constexpr bool takes_bytes(Body body, bool stochastic) {
  return !stochastic && (body == Body::nearest || body == Body::prefix);
}
//
// The launches of casts say how many parts they leave in scratch, at most one a block.
cudaError_t launch_cast_aligned(Body body, const CastJob& job, cudaStream_t stream,
                                std::uint64_t& parts);
// Anything else: a block of threads takes a block of elements. by_definition: FP64, and formats without turns.
cudaError_t launch_cast_any(Body body, bool by_definition, const CastJob& job, const Layout& layout,
                            cudaStream_t stream, std::uint64_t& parts);
// After the casts: their errors added up in the CPU's order, and the parts.
cudaError_t launch_counts(const Scratch& scratch, std::uint64_t elements, std::uint64_t parts,
                          formats::CastCounts* counts, cudaStream_t stream);

}  // namespace ullage::cuda
