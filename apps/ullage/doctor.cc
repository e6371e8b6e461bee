// ullage doctor: what this machine offers, which paths are taken, and why any is refused.
#include <fmt/core.h>
#include <unistd.h>

#include "ullage/base/cpu.h"
#include "ullage/base/parallel.h"
#include "ullage/command.h"
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

Result<int> doctor() {
  const report::Terminal terminal = report::terminal_of(STDOUT_FILENO);
  fmt::print("ullage {}\nCPU: {}\nthreads: {} (ULLAGE_THREADS or --threads changes it)\n",
             ULLAGE_VERSION, cpu_model(), default_threads());
  fmt::print("AMX BF16: {}\n\n", cpu_has_amx_bf16() ? "present" : "absent");
  fmt::print("{}", report::to_text(paths_table(), terminal));
  if (const std::string why = forced_path_refusal(); !why.empty())
    fmt::print("\nULLAGE_CPU asks for another path, which was not taken: {}\n", why);
  fmt::print("\nCUDA: this build has no CUDA component\n");
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
