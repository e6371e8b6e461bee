// The command `ullage`: parses arguments, runs one sub-command, maps its outcome to an exit code.
#include <csignal>
#include <cstdio>
#include <exception>
#include <new>
#include <string>

#include <malloc.h>
#include <unistd.h>

#include "ullage/base/text.h"
#include "ullage/command.h"
#include "ullage/report/output.h"
#include "ullage/spectrum/blas_threads.h"

namespace ullage::apps {

int exit_code(Code code) {
  switch (code) {
    case Code::usage:
      return kUsage;
    case Code::resource:
    case Code::device_unavailable:
      return kCouldNotFinish;
    case Code::interrupted:
      return kInterrupted;
    default:
      return kBadInput;
  }
}

namespace {

constexpr Command kCommands[] = {
    {"scan", add_scan},       {"explain", add_explain},     {"diff", add_diff},
    {"scales", add_scales},   {"reproduce", add_reproduce}, {"attention", add_attention},
    {"formats", add_formats}, {"doctor", add_doctor},
};

int fail(int code, const std::string& message) {
  std::fprintf(stderr, "ullage: %s\n", message.c_str());
  return code;
}

// Partial output goes, nothing else: everything here may run inside a signal handler.
extern "C" void on_interrupt(int) {
  report::remove_pending_files();
  _exit(kInterrupted);
}

int run(int argc, char** argv) {
  CLI::App app{
      "Numerical headroom of every attention layer, before and while it runs in FP8 or BF16.",
      "ullage"};
  app.footer(
      "Start with:  ullage scan FOLDER        (a Hugging Face checkpoint with safetensors)\n"
      "Exit codes:  0 done, 1 below --fail-under, 2 wrong usage, 3 bad input, 4 could not finish, "
      "130 interrupted");
  app.set_version_flag("--version", std::string("ullage ") + ULLAGE_VERSION);
  app.require_subcommand(1);
  app.get_formatter()->column_width(34);
  Action action;
  for (const Command& command : kCommands) command.add(app, action);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& success) {  // --help and --version
    return app.exit(success);
  } catch (const CLI::ParseError& error) {
    return fail(kUsage, escape_text(error.what(), 300) +
                            "; see ullage --help, or ullage SUBCOMMAND --help");
  }
  const Result<int> outcome = action();
  return outcome.ok() ? *outcome : fail(exit_code(outcome.error().code), outcome.error().message());
}

}  // namespace
}  // namespace ullage::apps

int main(int argc, char** argv) {
  using ullage::apps::fail;
  // Matrices of a head are just above glibc's threshold for mapping fresh pages: keep them on the heap, where
  // a page is faulted in once.
  mallopt(M_MMAP_THRESHOLD, 64 << 20);
  mallopt(M_TRIM_THRESHOLD, 256 << 20);
  ullage::spectrum::stop_idle_blas_threads();
  std::signal(SIGINT, ullage::apps::on_interrupt);
  std::signal(SIGTERM, ullage::apps::on_interrupt);
  std::signal(SIGPIPE, SIG_IGN);
  try {
    return ullage::apps::run(argc, argv);
  } catch (const std::bad_alloc&) {
    return fail(ullage::apps::kCouldNotFinish,
                "out of memory; close other programs or use --layers on a part");
  } catch (const std::exception& error) {
    return fail(ullage::apps::kCouldNotFinish,
                std::string("internal error: ") + ullage::escape_text(error.what(), 300));
  }
}
