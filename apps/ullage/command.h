// What every sub-command shares: registration, exit codes, and how an error is said.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <functional>
#include <string>

#include "ullage/base/result.h"

namespace ullage::apps {

// Exit codes of the command, a promise to scripts.
enum ExitCode : int {
  kDone = 0,
  kBelowThreshold = 1,  // done, and a head's headroom is below --fail-under
  kUsage = 2,
  kBadInput = 3,
  kCouldNotFinish = 4,  // memory, disk, internal
  kInterrupted = 130,
};

int exit_code(Code code);

// What a sub-command does once its arguments are parsed: an exit code, or the error to say.
using Action = std::function<Result<int>()>;

// Registers a sub-command and sets `run` when it was chosen on the command line.
struct Command {
  const char* name;
  void (*add)(CLI::App& app, Action& run);
};

// A value that is wrong where it came from an argument: wrong usage.
Error as_usage(Error error);

// For options that count: digits alone, from `least` to 2^64 - 1. CLI11 reads -1 into an unsigned number as 2^64 - 1.
CLI::Validator whole_number(std::uint64_t least = 0);

// --threads, as every sub-command has it.
void add_threads_option(CLI::App& command, int& threads);

void add_attention(CLI::App& app, Action& run);
void add_doctor(CLI::App& app, Action& run);
void add_formats(CLI::App& app, Action& run);
void add_scan(CLI::App& app, Action& run);
void add_explain(CLI::App& app, Action& run);
void add_diff(CLI::App& app, Action& run);
void add_scales(CLI::App& app, Action& run);
void add_reproduce(CLI::App& app, Action& run);

}  // namespace ullage::apps
