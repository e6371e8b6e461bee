// The launches that prove bounds on norms and products from Grams.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>

#include "cuda/gram_kernels.h"
#include "ullage/cuda/spectra.h"

namespace ullage::cuda {

// A pair, with where its sides lie.
struct Pair {
  const Side* query = nullptr;
  const Side* key = nullptr;
};

// Blocks of the kernels below, each with `scratch_bytes` of global memory.
struct ProofPlan {
  int blocks = 0;
  int extent = 0;  // of the largest side
  std::size_t scratch_bytes = 0;
  double* scratch = nullptr;
};
Result<ProofPlan> plan_proofs(int rows);

enum class Round { fast, precise };  // precise: only what the fast round asked for

// States of the sides whose Grams are there.
cudaError_t launch_side_proofs(const Side* sides, int count, Round round, const ProofPlan& plan,
                               cudaStream_t stream);
// Spectra of the pairs; after the fast round the sides that need FP64 Grams want one.
cudaError_t launch_pair_proofs(const Pair* pairs, int count, Round round, const ProofPlan& plan,
                               PairSpectrum* out, cudaStream_t stream);

}  // namespace ullage::cuda
