// Output files are whole or not there, whatever stops the writing.
#include "ullage/report/output.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>
#include <thread>

namespace ullage::report {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class Output : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "ullage-output-XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override { fs::remove_all(folder_); }

  [[nodiscard]] std::string at(const std::string& name) const { return (folder_ / name).string(); }
  [[nodiscard]] std::size_t entries() const {
    return static_cast<std::size_t>(
        std::distance(fs::directory_iterator(folder_), fs::directory_iterator()));
  }
  static std::string read(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
  }
  static Code code_of(const std::string& path) {
    const Result<AtomicFile> file = AtomicFile::create(path);
    EXPECT_FALSE(file.ok());
    if (file.ok()) return Code::interrupted;
    EXPECT_EQ(file.error().where, path);
    return file.error().code;
  }

  fs::path folder_;
};

TEST_F(Output, IsThereOnlyAfterCommit) {
  auto file = AtomicFile::create(at("a.json"));
  ASSERT_TRUE(file.ok());
  ASSERT_TRUE(file->write("one ").ok());
  ASSERT_TRUE(file->write("two").ok());
  EXPECT_FALSE(fs::exists(at("a.json")));
  ASSERT_TRUE(file->commit().ok());
  EXPECT_EQ(read(at("a.json")), "one two");
  EXPECT_EQ(entries(), 1u);
  EXPECT_FALSE(file->write("more").ok());
  EXPECT_FALSE(file->commit().ok());
}

TEST_F(Output, WithoutCommitNothingIsLeftAndTheOldFileStays) {
  ASSERT_TRUE(write_file(at("a"), "old").ok());
  {
    auto file = AtomicFile::create(at("a"));
    ASSERT_TRUE(file.ok());
    ASSERT_TRUE(file->write(std::string(3 << 20, 'x')).ok());
    EXPECT_EQ(entries(), 2u);
  }
  EXPECT_EQ(read(at("a")), "old");
  EXPECT_EQ(entries(), 1u);
}

TEST_F(Output, MovesKeepOneOwner) {
  auto first = AtomicFile::create(at("a"));
  ASSERT_TRUE(first.ok());
  AtomicFile second = std::move(*first);
  EXPECT_FALSE(
      first->write("x").ok());  // NOLINT(bugprone-use-after-move): it must say that it is closed
  ASSERT_TRUE(second.write("moved").ok());
  ASSERT_TRUE(second.commit().ok());
  EXPECT_EQ(read(at("a")), "moved");
}

TEST_F(Output, LargeFilesAreWhole) {
  std::string text;
  for (int i = 0; text.size() < (5u << 20); ++i) text += std::to_string(i) + "\n";
  ASSERT_TRUE(write_file(at("big"), text).ok());
  EXPECT_EQ(read(at("big")), text);
}

TEST_F(Output, KeepsTheModeOfAFileThatIsReplacedAndUsesTheUmaskElse) {
  const mode_t before = ::umask(027);
  ASSERT_TRUE(write_file(at("new"), "x").ok());
  ::umask(before);
  struct stat status{};
  ASSERT_EQ(::stat(at("new").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777u, 0640u);
  ASSERT_EQ(::chmod(at("new").c_str(), 0604), 0);
  ASSERT_TRUE(write_file(at("new"), "y").ok());
  ASSERT_EQ(::stat(at("new").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777u, 0604u);
}

TEST_F(Output, FollowsALinkToAFileAndRefusesOneToNothing) {
  ASSERT_TRUE(write_file(at("real"), "old").ok());
  fs::create_symlink("real", at("link"));
  ASSERT_TRUE(write_file(at("link"), "new").ok());
  EXPECT_TRUE(fs::is_symlink(at("link")));
  EXPECT_EQ(read(at("real")), "new");
  fs::create_symlink("nowhere", at("dangling"));
  EXPECT_EQ(code_of(at("dangling")), Code::usage);
}

TEST_F(Output, SaysWhatIsWrongWithAPath) {
  EXPECT_EQ(code_of(""), Code::usage);
  EXPECT_EQ(code_of(at("missing/a")), Code::usage);
  EXPECT_THAT(AtomicFile::create(at("missing/a")).error().what, HasSubstr("no such folder"));
  EXPECT_EQ(code_of(folder_.string()), Code::usage);
  EXPECT_THAT(AtomicFile::create(folder_.string()).error().what, HasSubstr("is a folder"));
  EXPECT_EQ(code_of(at("new/")), Code::usage);
  ASSERT_TRUE(write_file(at("file"), "").ok());
  EXPECT_EQ(code_of(at("file/a")), Code::usage);
  EXPECT_EQ(code_of(at(std::string(300, 'n'))), Code::usage);
  EXPECT_EQ(code_of(at(std::string("a\0b", 3))), Code::usage);
  EXPECT_EQ(entries(), 1u);
}

TEST_F(Output, RefusalsOfTheSystemAreResourceErrors) {
  ASSERT_TRUE(write_file(at("a"), "x").ok());
  ASSERT_EQ(::chmod(at("a").c_str(), 0444), 0);
  ASSERT_EQ(::chmod(folder_.c_str(), 0555), 0);
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    // To root nothing is refused: be nobody.
    if (::geteuid() == 0 && ::setuid(65534) != 0) ::_exit(2);
    const bool refused = code_of(at("a")) == Code::resource && code_of(at("b")) == Code::resource;
    ::_exit(refused ? 0 : 1);
  }
  int result = -1;
  ::waitpid(child, &result, 0);
  ASSERT_EQ(::chmod(folder_.c_str(), 0700), 0);
  EXPECT_EQ(result, 0);
}

TEST_F(Output, ADeviceIsWrittenAndNeverReplaced) {
  ASSERT_TRUE(write_file("/dev/null", "x").ok());
  EXPECT_TRUE(fs::is_character_file("/dev/null"));
  const Status full = write_file("/dev/full", "x");
  ASSERT_FALSE(full.ok());
  EXPECT_EQ(full.error().code, Code::resource);
  EXPECT_THAT(full.error().message(), HasSubstr("no space left"));
}

TEST_F(Output, APipeGetsItsBytesAtCommit) {
  ASSERT_EQ(::mkfifo(at("pipe").c_str(), 0600), 0);
  std::string got;
  std::thread reader([&] { got = read(at("pipe")); });
  ASSERT_TRUE(write_file(at("pipe"), "through").ok());
  reader.join();
  EXPECT_EQ(got, "through");
  EXPECT_TRUE(fs::is_fifo(at("pipe")));
}

TEST_F(Output, ADiskErrorLeavesTheOldFileAndNoTemporary) {
  ASSERT_TRUE(write_file(at("a"), "old").ok());
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    ::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{.rlim_cur = 4096, .rlim_max = 4096};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    const Status status = write_file(at("a"), std::string(1 << 16, 'x'));
    ::_exit(!status.ok() && status.error().code == Code::resource ? 0 : 1);
  }
  int result = -1;
  ::waitpid(child, &result, 0);
  EXPECT_EQ(result, 0);
  EXPECT_EQ(read(at("a")), "old");
  EXPECT_EQ(entries(), 1u);
}

TEST_F(Output, AnInterruptCanRemoveWhatIsPending) {
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    std::signal(SIGINT, [](int) {
      remove_pending_files();
      ::_exit(130);
    });
    auto one = AtomicFile::create(at("one"));
    auto two = AtomicFile::create(at("two"));
    const bool begun =
        one.ok() && two.ok() && two->write(std::string(2 << 20, 'x')).ok() && entries() == 2;
    if (begun) std::raise(SIGINT);
    ::_exit(1);
  }
  int result = -1;
  ::waitpid(child, &result, 0);
  ASSERT_TRUE(WIFEXITED(result));
  EXPECT_EQ(WEXITSTATUS(result), 130);
  EXPECT_EQ(entries(), 0u);
}

TEST_F(Output, AWorkingFolderThatChangesDoesNotMatter) {
  const fs::path before = fs::current_path();
  fs::current_path(folder_);
  auto file = AtomicFile::create("relative");
  fs::current_path(before);
  ASSERT_TRUE(file.ok());
  ASSERT_TRUE(file->write("x").ok());
  ASSERT_TRUE(file->commit().ok());
  EXPECT_EQ(read(at("relative")), "x");
}

TEST_F(Output, ManyAtOnceUntilTheTableIsFull) {
  std::vector<AtomicFile> files;
  std::optional<Error> refused;
  for (int i = 0; i < 100 && !refused; ++i) {
    auto file = AtomicFile::create(at("f" + std::to_string(i)));
    if (file.ok()) {
      files.push_back(std::move(*file));
    } else {
      refused = file.error();
    }
  }
  ASSERT_TRUE(refused);
  EXPECT_EQ(refused->code, Code::resource);
  EXPECT_EQ(files.size(), 32u);
  files.clear();
  EXPECT_EQ(entries(), 0u);
  EXPECT_TRUE(write_file(at("again"), "x").ok());
}

TEST_F(Output, StandardOutputGetsAllOrNothing) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const int saved = ::dup(STDOUT_FILENO);
  std::fflush(stdout);
  ::dup2(ends[1], STDOUT_FILENO);
  ::close(ends[1]);
  {
    auto dropped = AtomicFile::create("-");
    EXPECT_TRUE(dropped.ok() && dropped->write("never seen").ok());
  }
  std::fputs("before ", stdout);  // still in stdio's buffer at the commit
  const Status written = write_file("-", "all");
  ::dup2(saved, STDOUT_FILENO);
  ::close(saved);
  EXPECT_TRUE(written.ok());
  char buffer[64] = {};
  EXPECT_GT(::read(ends[0], buffer, sizeof buffer - 1), 0);
  ::close(ends[0]);
  EXPECT_STREQ(buffer, "before all");
}

}  // namespace
}  // namespace ullage::report
