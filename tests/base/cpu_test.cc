// CPU paths: names, refusals, and that a forced path is really taken.
#include "ullage/base/cpu.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <string>

namespace ullage {
namespace {

using ::testing::HasSubstr;

TEST(CpuPath, NamesAreReadBack) {
  for (const CpuPath path : kCpuPaths) {
    const Result<CpuPath> read = cpu_path_from_name(name_of(path));
    ASSERT_TRUE(read.ok());
    EXPECT_EQ(*read, path);
  }
  for (const char* name : {"", "AVX2", "avx2 ", "sse", "avx512_bf16x"}) {
    const Result<CpuPath> read = cpu_path_from_name(name);
    ASSERT_FALSE(read.ok()) << name;
    EXPECT_EQ(read.error().code, Code::usage);
  }
  EXPECT_STREQ(name_of(static_cast<CpuPath>(99)), "unknown");
}

TEST(CpuPath, PortableIsNeverRefusedAndRefusalsOnlyGrow) {
  EXPECT_EQ(refusal(CpuPath::portable), "");
  bool refused = false;
  for (const CpuPath path : kCpuPaths) {
    EXPECT_TRUE(!refused || !refusal(path).empty()) << name_of(path);
    refused = refused || !refusal(path).empty();
  }
}

// The kernel's list of features is another road to the same answer.
TEST(CpuPath, RefusalsAgreeWithTheKernel) {
  std::ifstream info("/proc/cpuinfo");
  const std::string text((std::istreambuf_iterator<char>(info)), std::istreambuf_iterator<char>());
  const auto flags = text.find("\nflags");
  if (flags == std::string::npos) GTEST_SKIP() << "/proc/cpuinfo lists no flags here";
  const std::string line = text.substr(flags + 1, text.find('\n', flags + 1) - flags - 1) + " ";
  const auto has = [&](const std::string& name) {
    return line.find(" " + name + " ") != std::string::npos;
  };
  const bool avx2 = has("avx2") && has("fma") && has("f16c") && has("bmi2");
  const bool avx512 = avx2 && has("avx512f") && has("avx512bw") && has("avx512dq") &&
                      has("avx512vl") && has("avx512cd");
  EXPECT_EQ(refusal(CpuPath::avx2).empty(), avx2) << refusal(CpuPath::avx2);
  EXPECT_EQ(refusal(CpuPath::avx512).empty(), avx512) << refusal(CpuPath::avx512);
  EXPECT_EQ(refusal(CpuPath::avx512_bf16).empty(), avx512 && has("avx512_bf16"))
      << refusal(CpuPath::avx512_bf16);
  EXPECT_EQ(cpu_has_amx_bf16(), has("amx_bf16"));
}

TEST(CpuPath, ScopesNestAndRestore) {
  const CpuPath before = cpu_path();
  {
    const ScopedCpuPath outer(CpuPath::portable);
    EXPECT_EQ(cpu_path(), CpuPath::portable);
    if (refusal(CpuPath::avx2).empty()) {
      const ScopedCpuPath inner(CpuPath::avx2);
      EXPECT_EQ(cpu_path(), CpuPath::avx2);
    }
    EXPECT_EQ(cpu_path(), CpuPath::portable);
  }
  EXPECT_EQ(cpu_path(), before);
}

TEST(CpuPath, ModelIsSaid) { EXPECT_NE(cpu_model(), ""); }

// The variable is read once a process, so each value is tried in a process of its own.
std::string probe(const std::string& value) {
  const std::string command = "ULLAGE_CPU='" + value + "' '" ULLAGE_CPU_PROBE "'";
  FILE* pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) return "popen failed";
  std::string out;
  std::array<char, 256> buffer{};
  while (std::fgets(buffer.data(), static_cast<int>(buffer.size()), pipe) != nullptr)
    out += buffer.data();
  return pclose(pipe) == 0 ? out : "the probe failed";
}

CpuPath best_up_to(CpuPath limit) {
  CpuPath best = CpuPath::portable;
  for (const CpuPath path : kCpuPaths) {
    if (path <= limit && refusal(path).empty()) best = path;
  }
  return best;
}

TEST(ForcedCpuPath, IsTakenOrRefusedWithAReason) {
  for (const CpuPath path : kCpuPaths) {
    const std::string want = std::string(name_of(best_up_to(path))) + "\n" + refusal(path) + "\n";
    EXPECT_EQ(probe(name_of(path)), want);
  }
}

TEST(ForcedCpuPath, EmptyMeansTheBest) {
  EXPECT_EQ(probe(""), std::string(name_of(best_up_to(kCpuPaths.back()))) + "\n\n");
}

TEST(ForcedCpuPath, UnknownNamesAreSaidAndTheBestIsTaken) {
  const std::string out = probe("mmx");
  EXPECT_EQ(out.substr(0, out.find('\n')), name_of(best_up_to(kCpuPaths.back())));
  EXPECT_THAT(out, HasSubstr("no such CPU path"));
  EXPECT_THAT(out, HasSubstr("mmx"));
}

}  // namespace
}  // namespace ullage
