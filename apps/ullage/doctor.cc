// ullage doctor: what this machine offers, which paths are taken, and why any is refused.
#include <fmt/core.h>
#include <unistd.h>

#include "ullage/base/cpu.h"
#include "ullage/base/parallel.h"
#include "ullage/base/version.h"
#include "ullage/command.h"
#include "ullage/cuda/device.h"
#include "ullage/report/table.h"

namespace ullage::apps {
namespace {

using report::Tone;

report::Table paths_table() {
  report::Table table;
  table.columns = {{.title = "CPU path"}, {.title = "state"}, {.title = "why", .widest = 100}};
  for (const CpuPath path : kCpuPaths) {
    const std::string why = refusal(path);
    const bool taken = path == cpu_path();
    table.rows.push_back({{name_of(path), taken ? Tone::strong : Tone::plain},
                          {taken         ? "taken"
                           : why.empty() ? "available"
                                         : "refused",
                           taken         ? Tone::good
                           : why.empty() ? Tone::plain
                                         : Tone::dim},
                          {why, Tone::dim}});
  }
  return table;
}

std::string dotted(int version) {
  return fmt::format("{}.{}", version / 1000, version % 1000 / 10);
}

std::string gpu_line() {
  const Result<cuda::Device> found = cuda::current_device();
  if (!found.ok()) return found.error().message();
  constexpr double kGiB = 1024.0 * 1024.0 * 1024.0;
  return fmt::format(
      "CUDA {}: {}, compute capability {}.{}, {} multiprocessors, {:.1f} of {:.1f} GiB free, "
      "driver for CUDA {}",
      dotted(found->runtime_version), found->name, found->capability_major, found->capability_minor,
      found->multiprocessors, static_cast<double>(found->free_bytes) / kGiB,
      static_cast<double>(found->memory_bytes) / kGiB, dotted(found->driver_version));
}

Result<int> doctor() {
  const report::Terminal terminal = report::terminal_of(STDOUT_FILENO);
  fmt::print("ullage {}\nCPU: {}\nthreads: {} (ULLAGE_THREADS or --threads changes it)\n",
             version(), cpu_model(), default_threads());
  fmt::print("AMX BF16: {}\n\n", cpu_has_amx_bf16() ? "present" : "absent");
  fmt::print("{}", report::to_text(paths_table(), terminal));
  if (const std::string why = forced_path_refusal(); !why.empty())
    fmt::print("\nULLAGE_CPU asks for another path, which was not taken: {}\n", why);
  fmt::print("\n{}\n", gpu_line());
  return kDone;
}

}  // namespace

void add_doctor(CLI::App& app, Action& run) {
  CLI::App* command = app.add_subcommand(
      "doctor", "CPU paths and why any is refused, threads, optional components");
  command->footer("Set ULLAGE_CPU=portable|avx2|avx512|avx512_bf16 to force a path.");
  command->callback([&run] { run = doctor; });
}

}  // namespace ullage::apps
