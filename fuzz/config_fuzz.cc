// Any bytes as config.json: refused with one line, or every getter answers for every key in it.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "ullage/checkpoint/config.h"

namespace {

using ullage::Result;
using ullage::checkpoint::Config;

void require(bool holds) {
  if (!holds) std::abort();
}

template <class T>
T checked(const Result<T>& result, T otherwise = {}) {
  if (result.ok()) return *result;
  const std::string line = result.error().message();
  require(!line.empty() && line.find('\n') == std::string::npos);
  return otherwise;
}

void ask(const Config& config, int depth) {
  for (const std::string_view key : config.keys()) {
    const auto integer = checked(config.optional_integer(key, {.least = 1, .most = 1000}));
    require(!integer || (*integer >= 1 && *integer <= 1000));
    const auto number = checked(config.optional_number(key));
    require(!number || std::isfinite(*number));
    (void)checked(config.optional_boolean(key));
    (void)checked(config.optional_string(key));
    const auto numbers = checked(config.numbers(key));
    for (const double value : numbers) require(std::isfinite(value));
    (void)checked(config.integers(key));
    (void)checked(config.strings(key));
    (void)checked(config.number(std::string(key) + "|rope_parameters.rope_theta"));
    (void)config.kind(key);
    const auto section = config.section(key);
    if (section && depth < 3) ask(*section, depth + 1);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto config =
      Config::parse(std::string(reinterpret_cast<const char*>(data), size), "fuzzed");
  if (config.ok())
    ask(*config, 0);
  else
    require(config.error().message().find('\n') == std::string::npos);
  return 0;
}
