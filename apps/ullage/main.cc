// The command `ullage`: parses arguments, runs one sub-command, maps its outcome to an exit code.
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <exception>
#include <new>
#include <string>
#include <system_error>

#include <malloc.h>
#include <unistd.h>

#include "ullage/base/text.h"
#include "ullage/base/version.h"
#include "ullage/command.h"
#include "ullage/report/output.h"
#include "ullage/report/progress.h"
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

Error as_usage(Error error) {
  if (error.code == Code::value_invalid) error.code = Code::usage;
  return error;
}

CLI::Validator whole_number(std::uint64_t least) {
  return {[least](const std::string& text) {
            std::uint64_t number = 0;
            const char* end = text.data() + text.size();
            const auto found = std::from_chars(text.data(), end, number);
            if (found.ec == std::errc() && found.ptr == end && number >= least)
              return std::string();
            return text + " is no whole number from " + std::to_string(least) + " on";
          },
          ""};
}

void add_threads_option(CLI::App& command, int& threads) {
  command.add_option("--threads", threads, "Threads (default: every CPU this process may use)")
      ->check(whole_number(1));
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
  report::clear_progress_line();
  _exit(kInterrupted);
}

// What was printed has reached its reader, or one line that says why not. A reader that went away (head, less) has seen
// enough.
int finish_stdout(int code) {
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return code;
  if (errno == EPIPE) return code;
  return fail(kCouldNotFinish, std::string("standard output: ") + std::strerror(errno));
}

// An option that was given an empty value ("$UNSET" in a script), or "": CLI11 takes it as not given.
std::string empty_option(const CLI::App& app) {
  for (const CLI::Option* option : app.get_options())
    for (const std::string& value : option->results())
      if (value.empty()) return option->get_name();
  for (const CLI::App* command : app.get_subcommands())
    if (std::string name = empty_option(*command); !name.empty()) return name;
  return "";
}

// CLI11 says only that some sub-command is missing.
std::string unknown_subcommand(const CLI::App& app, int argc, char** argv) {
  if (argc < 2 || argv[1][0] == '-') return "";
  for (const CLI::App* command : app.get_subcommands({}))
    if (command->get_name() == argv[1]) return "";
  return "no such sub-command: " + escape_text(argv[1], 60);
}

int run(int argc, char** argv) {
  CLI::App app{
      "Numerical headroom of every attention layer, before and while it runs in FP8 or BF16.",
      "ullage"};
  app.footer(
      "Start with:  ullage scan FOLDER        (a Hugging Face checkpoint with safetensors)\n"
      "Exit codes:  0 done, 1 below --fail-under, 2 wrong usage, 3 bad input, 4 could not finish, "
      "130 interrupted");
  app.set_version_flag("--version", std::string("ullage ") + version());
  app.require_subcommand(1);
  app.get_formatter()->column_width(34);
  Action action;
  for (const Command& command : kCommands) command.add(app, action);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& success) {  // --help and --version
    return finish_stdout(app.exit(success));
  } catch (const CLI::ParseError& error) {
    const std::string unknown = unknown_subcommand(app, argc, argv);
    return fail(kUsage, (unknown.empty() ? escape_text(error.what(), 300) : unknown) +
                            "; see ullage --help, or ullage SUBCOMMAND --help");
  }
  if (const std::string name = empty_option(app); !name.empty())
    return fail(kUsage, name + ": the value is empty");
  const Result<int> outcome = action();
  if (!outcome.ok()) return fail(exit_code(outcome.error().code), outcome.error().message());
  return finish_stdout(*outcome);
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
  // A session that ends, unless whoever started us wants us to outlive it (nohup).
  if (std::signal(SIGHUP, ullage::apps::on_interrupt) == SIG_IGN) std::signal(SIGHUP, SIG_IGN);
  std::signal(SIGPIPE, SIG_IGN);
  try {
    return ullage::apps::run(argc, argv);
  } catch (const std::bad_alloc&) {
    return fail(ullage::apps::kCouldNotFinish,
                "out of memory; close other programs or use --layers on a part");
  } catch (const std::system_error& error) {
    // fmt::print, once its buffer is full.
    if (error.code().value() == EPIPE) return ullage::apps::kDone;
    return fail(ullage::apps::kCouldNotFinish,
                "standard output: " + ullage::escape_text(error.code().message(), 300));
  } catch (const std::exception& error) {
    return fail(ullage::apps::kCouldNotFinish,
                std::string("internal error: ") + ullage::escape_text(error.what(), 300));
  }
}
