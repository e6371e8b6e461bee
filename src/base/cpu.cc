#include "ullage/base/cpu.h"

#include <atomic>
#include <cstdlib>
#include <fstream>
#include <sstream>

namespace ullage {
namespace {

struct Need {
  const char* feature;
  bool present;
};

// __builtin_cpu_supports also asks the operating system (XGETBV) about the wide registers.
std::string missing(std::initializer_list<Need> needs) {
  std::string list;
  for (const Need& need : needs)
    if (!need.present) list += (list.empty() ? "" : ", ") + std::string(need.feature);
  return list.empty() ? "" : "the CPU lacks " + list;
}

std::string own_refusal(CpuPath path) {
  __builtin_cpu_init();
  switch (path) {
    case CpuPath::portable:
      return "";
    case CpuPath::avx2:
      return missing({{"AVX2", __builtin_cpu_supports("avx2") != 0},
                      {"FMA", __builtin_cpu_supports("fma") != 0},
                      {"F16C", __builtin_cpu_supports("f16c") != 0},
                      {"BMI2", __builtin_cpu_supports("bmi2") != 0}});
    case CpuPath::avx512:
      return missing({{"AVX512F", __builtin_cpu_supports("avx512f") != 0},
                      {"AVX512BW", __builtin_cpu_supports("avx512bw") != 0},
                      {"AVX512DQ", __builtin_cpu_supports("avx512dq") != 0},
                      {"AVX512VL", __builtin_cpu_supports("avx512vl") != 0},
                      {"AVX512CD", __builtin_cpu_supports("avx512cd") != 0}});
    case CpuPath::avx512_bf16:
      return missing({{"AVX512_BF16", __builtin_cpu_supports("avx512bf16") != 0}});
  }
  return "";
}

struct Choice {
  CpuPath path = CpuPath::portable;
  std::string forced_refusal;
};

Choice choose() {
  Choice choice;
  CpuPath limit = kCpuPaths.back();
  const char* forced = std::getenv("ULLAGE_CPU");
  if (forced != nullptr && *forced != '\0') {
    const Result<CpuPath> named = cpu_path_from_name(forced);
    if (named.ok()) {
      limit = *named;
      choice.forced_refusal = refusal(limit);
    } else {
      choice.forced_refusal = named.error().message();
    }
  }
  for (const CpuPath path : kCpuPaths)
    if (path <= limit && refusal(path).empty()) choice.path = path;
  return choice;
}

const Choice& choice() {
  static const Choice chosen = choose();
  return chosen;
}

std::atomic<int>& override_path() {
  static std::atomic<int> path{-1};
  return path;
}

}  // namespace

const char* name_of(CpuPath path) {
  switch (path) {
    case CpuPath::portable:
      return "portable";
    case CpuPath::avx2:
      return "avx2";
    case CpuPath::avx512:
      return "avx512";
    case CpuPath::avx512_bf16:
      return "avx512_bf16";
  }
  return "unknown";
}

Result<CpuPath> cpu_path_from_name(std::string_view name) {
  for (const CpuPath path : kCpuPaths)
    if (name == name_of(path)) return path;
  return Error{Code::usage, "no such CPU path; there are portable, avx2, avx512 and avx512_bf16",
               "ULLAGE_CPU", "", std::string(name)};
}

std::string refusal(CpuPath path) {
  for (const CpuPath lower : kCpuPaths) {
    if (lower > path) break;
    if (std::string why = own_refusal(lower); !why.empty()) return why;
  }
  return "";
}

CpuPath cpu_path() {
  const int forced = override_path().load(std::memory_order_relaxed);
  return forced >= 0 ? static_cast<CpuPath>(forced) : choice().path;
}

std::string forced_path_refusal() { return choice().forced_refusal; }

ScopedCpuPath::ScopedCpuPath(CpuPath path)
    : before_(override_path().exchange(static_cast<int>(path))) {}
ScopedCpuPath::~ScopedCpuPath() { override_path().store(before_); }

std::string cpu_model() {
  std::ifstream info("/proc/cpuinfo");
  std::string line;
  while (std::getline(info, line))
    if (line.starts_with("model name")) {
      const auto colon = line.find(':');
      if (colon != std::string::npos) return line.substr(line.find_first_not_of(' ', colon + 1));
    }
  return "unknown";
}

bool cpu_has_amx_bf16() {
  std::ifstream info("/proc/cpuinfo");
  std::stringstream text;
  text << info.rdbuf();
  return text.str().find(" amx_bf16") != std::string::npos;
}

}  // namespace ullage
