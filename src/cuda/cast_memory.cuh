// How the fast casts read and write: sixteen numbers of a thread from memory, by registers or by shared memory, and their
// codes to it.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <type_traits>

#include "cuda/round_turn.h"

namespace ullage::cuda {

using formats::kRow;

constexpr unsigned kWarp = 32;
constexpr unsigned kTurnOfWarp = kWarp * kTurn;
constexpr std::uint32_t kAll = 0xFFFFFFFF;

// Sixteen elements of a thread as they lie in memory: four rows of four.
template <int kSourceBytes>
struct Raw;
template <>
struct Raw<4> {
  uint4 row[4];
};
template <>
struct Raw<2> {
  uint2 row[4];
};

// Of bytes the sixteen that lie together: the quad's threads exchange rows later.
template <>
struct Raw<1> {
  uint4 quarter;
};

// `at`: the thread's first element, the q-th four of a quad's 64.
template <int kSourceBytes>
__device__ __forceinline__ void load(const void* source, std::uint64_t at, Raw<kSourceBytes>& raw) {
  const char* from = static_cast<const char*>(source) + at * kSourceBytes;
  if constexpr (kSourceBytes == 1) {
    const std::uint64_t q = at % kRow / 4;
    raw.quarter = __ldcs(reinterpret_cast<const uint4*>(from + 12 * q));
  } else {
    using Row = std::remove_reference_t<decltype(raw.row[0])>;
#pragma unroll
    for (int w = 0; w < 4; ++w)
      raw.row[w] =
          __ldcs(reinterpret_cast<const Row*>(from + w * static_cast<int>(kRow) * kSourceBytes));
  }
}

// Turns of two-byte sources go through shared memory, so that a warp asks for whole lines of 128 bytes: their rows of four
// are 8 bytes, and a load of them would ask for a quarter of a line. A stage is the turns of two blocks, one after the
// other, and lies at a multiple of its size.
//
// Of a line's eight pieces of 16 bytes, piece i of line n lies at i ^ 2 n % 8: where a quad reads its rows, half a warp
// meets in no bank.
constexpr unsigned kStages = 2;
constexpr unsigned kTurnBytes = kTurnOfWarp * 2;
constexpr unsigned kStageBytes = 2 * kTurnBytes;
constexpr unsigned kLine = 128;
constexpr unsigned kPiece = 16;
constexpr unsigned kPieces = kLine / kPiece;
// Where a lane's pieces go, half a turn from each other as in the source.
__device__ __forceinline__ unsigned place_of_piece(unsigned lane) {
  const unsigned line = lane / kPieces;
  return kLine * line + kPiece * ((lane % kPieces) ^ (2 * line % kPieces));
}
// Where a thread's row w lies, but for 32 w, which is to be xored.
__device__ __forceinline__ unsigned place_of_rows(unsigned run, unsigned q) {
  return kLine * run + kPiece * (2 * run % kPieces) + 8 * q;
}
__device__ __forceinline__ void fetch(const char* from, char* to) {
  const auto at = static_cast<unsigned>(__cvta_generic_to_shared(to));
#pragma unroll
  for (unsigned half = 0; half < 2; ++half)
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(at + kTurnBytes / 2 * half),
                 "l"(from + kTurnBytes / 2 * half)
                 : "memory");
}
// A group is what was fetched since the last; all but the newest `kNewer` have come.
__device__ __forceinline__ void end_of_group() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}
template <unsigned kNewer>
__device__ __forceinline__ void wait_for_groups() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kNewer) : "memory");
}

__device__ __forceinline__ float half_to_float(std::uint32_t half) {
  float value;
  asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(static_cast<unsigned short>(half)));
  return value;
}

// Of four words of each of four threads, thread q gets the q-th words, in the threads' order.
__device__ __forceinline__ void transpose(std::uint32_t (&words)[4], unsigned q) {
  const bool odd = (q & 1) != 0;
  const bool upper = (q & 2) != 0;
#pragma unroll
  for (int i = 0; i < 4; i += 2) {
    const std::uint32_t theirs = __shfl_xor_sync(kAll, odd ? words[i] : words[i + 1], 1);
    words[i] = odd ? theirs : words[i];
    words[i + 1] = odd ? words[i + 1] : theirs;
  }
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const std::uint32_t theirs = __shfl_xor_sync(kAll, upper ? words[i] : words[i + 2], 2);
    words[i] = upper ? theirs : words[i];
    words[i + 2] = upper ? words[i + 2] : theirs;
  }
}

// `values` of bytes: what each code stands for, in shared memory.
template <int kSourceBytes>
__device__ __forceinline__ void expand(const Raw<kSourceBytes>& raw, bool fp16, const float* values,
                                       unsigned q, float (&x)[kTurn]) {
  if constexpr (kSourceBytes == 1) {
    std::uint32_t rows[4] = {raw.quarter.x, raw.quarter.y, raw.quarter.z, raw.quarter.w};
    transpose(rows, q);
#pragma unroll
    for (int i = 0; i < kTurn; ++i) x[i] = values[rows[i / 4] >> (8 * (i % 4)) & 0xFF];
  } else if constexpr (kSourceBytes == 4) {
#pragma unroll
    for (int w = 0; w < 4; ++w) {
      x[4 * w] = float_of(raw.row[w].x);
      x[4 * w + 1] = float_of(raw.row[w].y);
      x[4 * w + 2] = float_of(raw.row[w].z);
      x[4 * w + 3] = float_of(raw.row[w].w);
    }
  } else if (fp16) {
#pragma unroll
    for (int w = 0; w < 4; ++w) {
      x[4 * w] = half_to_float(raw.row[w].x & 0xFFFF);
      x[4 * w + 1] = half_to_float(raw.row[w].x >> 16);
      x[4 * w + 2] = half_to_float(raw.row[w].y & 0xFFFF);
      x[4 * w + 3] = half_to_float(raw.row[w].y >> 16);
    }
  } else {
#pragma unroll
    for (int w = 0; w < 4; ++w) {
      x[4 * w] = float_of(raw.row[w].x << 16);
      x[4 * w + 1] = float_of(raw.row[w].x & 0xFFFF0000);
      x[4 * w + 2] = float_of(raw.row[w].y << 16);
      x[4 * w + 3] = float_of(raw.row[w].y & 0xFFFF0000);
    }
  }
}

// `at`: the thread's first element; mine: false for threads that only take part.
template <int kBytes>
__device__ __forceinline__ void store(std::uint32_t (&words)[4 * kBytes], void* codes,
                                      std::uint64_t at, unsigned q, bool mine) {
  char* to = static_cast<char*>(codes) + at * kBytes;
  if constexpr (kBytes == 1) transpose(words, q);
  if (!mine) return;
  if constexpr (kBytes == 1) {
    *reinterpret_cast<uint4*>(to + 12 * q) = make_uint4(words[0], words[1], words[2], words[3]);
  } else if constexpr (kBytes == 2) {
#pragma unroll
    for (int w = 0; w < 4; ++w)
      *reinterpret_cast<uint2*>(to + 32 * w) = make_uint2(words[2 * w], words[2 * w + 1]);
  } else {
#pragma unroll
    for (int w = 0; w < 4; ++w)
      *reinterpret_cast<uint4*>(to + 64 * w) =
          make_uint4(words[4 * w], words[4 * w + 1], words[4 * w + 2], words[4 * w + 3]);
  }
}

}  // namespace ullage::cuda
