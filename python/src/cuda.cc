// ullage._core: casts of arrays in a GPU's memory, on the caller's stream.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

#include <optional>
#include <string>

#include "bindings.h"
#include "ullage/cuda/cast.h"
#include "ullage/cuda/device.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace ullage::python {
namespace {

using formats::CastCounts;

using Source = nb::ndarray<nb::ro, nb::device::cuda>;
using Target = nb::ndarray<nb::device::cuda, nb::c_contig>;
using Workspace = nb::ndarray<std::uint8_t, nb::device::cuda, nb::c_contig>;

constexpr std::size_t kCountsBytes = (sizeof(CastCounts) + 15) / 16 * 16;

std::size_t cast_workspace_bytes(std::size_t elements) {
  return kCountsBytes + cuda::cast_scratch_bytes(elements);
}

// The counts, if there is a workspace to make them in: only then is the stream waited for.
std::optional<CastCounts> run(const Cast& job, void* out, int device,
                              const std::optional<Workspace>& workspace, cuda::Stream stream) {
  const nb::gil_scoped_release release;
  const cuda::ScopedDevice current(device);
  const auto finish = [](const Status& status) {
    if (status.ok()) return;
    const nb::gil_scoped_acquire acquire;
    raise(status.error());
  };
  finish(current.status());
  cuda::CountsOnDevice found;
  if (workspace)
    found = {.counts = reinterpret_cast<CastCounts*>(workspace->data()),
             .scratch = workspace->data() + kCountsBytes};
  finish(job.values ? cuda::cast_to_values(job.source, job.to, static_cast<float*>(out),
                                           job.options, found, stream)
                    : cuda::cast(job.source, job.to, out, job.options, found, stream));
  if (!workspace) return std::nullopt;
  CastCounts counts;
  finish(cuda::download(found.counts, sizeof counts, &counts, stream));
  return counts;
}

nb::object cast_on_gpu(const Source& x, const std::optional<std::string>& source,
                       const std::string& to, const Target& out, const std::string& rounding,
                       bool saturate, std::uint64_t seed, std::uintptr_t stream,
                       const std::optional<Workspace>& workspace) {
  Cast job;
  read_arguments(x, source, to, out, rounding, saturate, seed, job);
  if (workspace && workspace->size() < cast_workspace_bytes(x.size()))
    raise({Code::size_mismatch, "the workspace is too small", "workspace", "", ""});
  const std::optional<CastCounts> counts =
      run(job, out.data(), x.device_id(), workspace, reinterpret_cast<cuda::Stream>(stream));
  return counts ? nb::object(to_dict(*counts)) : nb::none();
}

// Why no GPU can be used, or nothing.
std::optional<std::string> why_no_gpu() {
  const Status found = cuda::usable();
  if (found.ok()) return std::nullopt;
  return found.error().message();
}

}  // namespace

void bind_cuda(nb::module_& module) {
  module.def("cast_on_gpu", &cast_on_gpu, "x"_a, "source"_a.none(), "to"_a, "out"_a, "rounding"_a,
             "saturate"_a, "seed"_a, "stream"_a, "workspace"_a.none(),
             "As cast, on arrays in a GPU's memory, ordered on the stream (a cudaStream_t). Counts "
             "need a workspace of cast_workspace_bytes, and wait for the stream; None without.");
  module.def("cast_workspace_bytes", &cast_workspace_bytes, "elements"_a,
             "Bytes that the counts of a cast of so many elements take on a GPU.");
  module.def("why_no_gpu", &why_no_gpu,
             "Why no GPU can be used, in one sentence; None if one can.");
}

}  // namespace ullage::python
