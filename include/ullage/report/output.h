// Output files that are there whole or not at all.
//
//   // Before the long work: says at once what is wrong.
//   ULLAGE_ASSIGN(AtomicFile file, AtomicFile::create(path));
//   ULLAGE_TRY(file.write(text));
//   ULLAGE_TRY(file.commit());
//
// Bytes go to a temporary beside the target, which commit() flushes to the disk and renames over
// it. Until then the target is untouched; without a commit() that succeeded the temporary is
// removed by the destructor.
// "-" is standard output. It, and a target that is a pipe or a device, gets its bytes at commit(),
// all at once. A link is followed; the mode of a file that is replaced is kept.
#pragma once

#include <string>
#include <string_view>

#include "ullage/base/result.h"

namespace ullage::report {

// Errors: usage (no such folder, target is a folder, empty name: the caller's argument is wrong),
// resource (no permission, no space, input/output error: the machine cannot). `where` is the path
// as given.
class AtomicFile {
 public:
  static Result<AtomicFile> create(const std::string& path);

  AtomicFile(AtomicFile&& other) noexcept;
  AtomicFile& operator=(AtomicFile&& other) noexcept;
  ~AtomicFile();

  // After an error the file can only be destroyed.
  Status write(std::string_view bytes);
  Status commit();

  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  AtomicFile() = default;
  Status flush();
  Status commit_stream();
  void discard() noexcept;

  std::string path_;    // as given
  std::string target_;  // what is renamed over; empty: standard output, a pipe or a device
  std::string buffer_;
  bool open_ = false;
  int descriptor_ = -1;
  int slot_ = -1;  // in the table of temporaries that remove_pending_files() reads
};

// create, write, commit.
Status write_file(const std::string& path, std::string_view bytes);

// Removes every temporary that is not committed yet. Safe in a signal handler; for one that then
// ends the process, since later writes and commits of those files fail.
void remove_pending_files() noexcept;

}  // namespace ullage::report
