// Which kernel a cast takes, and with what. The kernels loop.
#include "ullage/cuda/cast.h"

#include "cuda/cast_kernels.h"
#include "cuda/runtime.h"
#include "ullage/formats/random.h"

namespace ullage::cuda {
namespace {

using formats::ArrayView;
using formats::CastOptions;
using formats::Format;
using formats::kBlock;
using formats::KernelShape;
using formats::Rounding;

constexpr std::size_t kAlignment = 16;  // of what the fast kernels read and write

std::size_t divided_up(std::size_t count, std::size_t by) { return count / by + (count % by != 0); }
std::size_t blocks_of(std::size_t elements) { return divided_up(elements, kBlock); }

// Where each kind of counts begins, in bytes; and the end of all.
struct ScratchPlan {
  std::size_t errors, chunks, parts, totals, end;
};
ScratchPlan scratch_plan(std::size_t elements) {
  const std::size_t blocks = blocks_of(elements);
  ScratchPlan plan;
  plan.errors = kAlignment;
  plan.chunks = plan.errors + blocks * sizeof(double);
  plan.parts = plan.chunks + divided_up(blocks, kBlocksOfChunk) * sizeof(double);
  plan.totals = plan.parts + blocks * sizeof(Part);
  plan.end = plan.totals + divided_up(blocks, kBlocksAtOnce) * sizeof(Totals);
  return plan;
}

Scratch scratch_at(void* memory, std::size_t elements) {
  auto* const at = static_cast<char*>(memory);
  const ScratchPlan plan = scratch_plan(elements);
  return {.parts_done = reinterpret_cast<std::uint32_t*>(at),
          .errors = reinterpret_cast<double*>(at + plan.errors),
          .chunks = reinterpret_cast<double*>(at + plan.chunks),
          .parts = reinterpret_cast<Part*>(at + plan.parts),
          .totals = reinterpret_cast<Totals*>(at + plan.totals)};
}

Source source_of(const ArrayView& source) {
  if (!source.format) return Source::fp64;
  const Format& format = *source.format;
  if (format == formats::kFp32) return Source::fp32;
  if (format == formats::kBf16) return Source::bf16;
  if (format == formats::kFp16) return Source::fp16;
  return format.bytes() == 1 ? Source::bytes : Source::codes;
}

// The array with as few dimensions as its strides allow: none of size one, and none that go on where the next ends.
Layout layout_of(const ArrayView& source) {
  Layout layout;
  layout.contiguous = formats::is_contiguous(source);
  if (layout.contiguous) return layout;
  for (std::size_t axis = 0; axis < source.shape.size(); ++axis) {
    const std::int64_t size = source.shape[axis];
    const std::int64_t stride = source.strides[axis];
    if (size == 1) continue;
    const int last = layout.rank - 1;
    if (layout.rank > 0 && layout.strides[last] == size * stride) {
      layout.shape[last] *= size;
      layout.strides[last] = stride;
    } else {
      layout.shape[layout.rank] = size;
      layout.strides[layout.rank] = stride;
      ++layout.rank;
    }
  }
  return layout;
}

bool is_aligned(const void* pointer) {
  return reinterpret_cast<std::uintptr_t>(pointer) % kAlignment == 0;
}

Body body_of(KernelShape shape, Rounding rounding) {
  if (shape == KernelShape::prefix) return Body::prefix;
  return rounding == Rounding::nearest_even ? Body::nearest : Body::small;
}

Status cast_view(const ArrayView& source, const Format& to, void* codes, bool values,
                 const CastOptions& options, const CountsOnDevice& found, Stream stream) {
  ULLAGE_TRY(usable());
  ULLAGE_TRY(formats::check_format(to));
  if (source.format) ULLAGE_TRY(formats::check_format(*source.format));
  ULLAGE_ASSIGN(const std::size_t count, formats::element_count(source));
  if (found.counts != nullptr &&
      (found.scratch == nullptr || !is_aligned(found.scratch) || !is_aligned(found.counts)))
    return Error{Code::value_invalid, "counts and their scratch are aligned device memory", "found",
                 "multiples of 16 bytes", ""};
  if (count == 0) {
    if (found.counts == nullptr) return {};
    return check(cudaMemsetAsync(found.counts, 0, sizeof *found.counts, stream), "a cast");
  }
  CastJob job;
  job.source = source.data;
  job.kind = source_of(source);
  if (source.format) job.from = *source.format;
  job.to = to;
  job.codes = codes;
  job.values = values;
  job.options = options;
  job.keys = keys_of(options.seed);
  job.elements = count;
  if (found.counts != nullptr) job.scratch = scratch_at(found.scratch, count);
  const KernelShape shape = formats::kernel_shape(to);
  const bool by_definition = !source.format || shape == KernelShape::scalar;
  if (!by_definition) job.parameters = formats::cast_parameters(to, options);
  const Layout layout = layout_of(source);
  const Body body = body_of(shape, options.rounding);
  const bool stochastic = options.rounding == Rounding::stochastic;
  const bool source_is_fast = job.kind == Source::fp32 || job.kind == Source::bf16 ||
                              job.kind == Source::fp16 ||
                              (job.kind == Source::bytes && takes_bytes(body, stochastic));
  const bool fast = !by_definition && source_is_fast && layout.contiguous &&
                    is_aligned(source.data) && is_aligned(codes) &&
                    (!stochastic || options.first_index % formats::kRandomGroup == 0);
  std::uint64_t parts = 0;  // of the last launch
  if (fast && count >= kBlock) {
    job.end_block = count / kBlock;
    Body fast_body = body;
    if (job.kind == Source::bf16 && !values && has_pairs(to)) {
      job.pairs = pair_parameters(job.parameters);
      fast_body = body == Body::nearest ? Body::nearest_pairs : Body::small_pairs;
    }
    ULLAGE_TRY(check(launch_cast_aligned(fast_body, job, stream, parts), "a cast"));
    job.first_block = job.end_block;
    job.first_part += parts;
  }
  job.end_block = blocks_of(count);
  if (job.first_block < job.end_block) {
    ULLAGE_TRY(check(launch_cast_any(body, by_definition, job, layout, stream, parts), "a cast"));
    job.first_part += parts;
  }
  if (found.counts == nullptr) return {};
  return check(launch_counts(job.scratch, count, job.first_part, found.counts, stream),
               "a cast's counts");
}

}  // namespace

std::size_t cast_scratch_bytes(std::size_t elements) { return scratch_plan(elements).end; }

Status cast(const ArrayView& source, const Format& to, void* codes, const CastOptions& options,
            const CountsOnDevice& found, Stream stream) {
  return cast_view(source, to, codes, false, options, found, stream);
}

Status cast_to_values(const ArrayView& source, const Format& to, float* values,
                      const CastOptions& options, const CountsOnDevice& found, Stream stream) {
  return cast_view(source, to, values, true, options, found, stream);
}

}  // namespace ullage::cuda
