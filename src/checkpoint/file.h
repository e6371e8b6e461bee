// Regular files, opened so that nothing blocks and read at given offsets; the one place with system calls.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "ullage/base/result.h"

namespace ullage::checkpoint {

// Which file it is, whatever its name: a file opened again must be the same.
struct FileIdentity {
  std::uint64_t device = 0, inode = 0, bytes = 0;
  friend bool operator==(const FileIdentity&, const FileIdentity&) = default;
};

class File {
 public:
  // Links are followed; anything but a regular file is refused without being opened, so a pipe cannot
  // block and a device sees nothing. `where` names the file in errors.
  static Result<File> open(const std::string& path, const std::string& where);

  File(File&& other) noexcept;
  File& operator=(File&& other) noexcept;
  ~File();

  std::uint64_t bytes() const { return identity_.bytes; }
  const FileIdentity& identity() const { return identity_; }

  // Fills `out` from `offset` on; an error when the file ends before.
  Status read(std::uint64_t offset, std::span<std::byte> out, const std::string& where) const;

 private:
  File(int descriptor, FileIdentity identity) : descriptor_(descriptor), identity_(identity) {}

  int descriptor_ = -1;
  FileIdentity identity_;
};

enum class PathKind { absent, file, folder, other };
PathKind kind_of(const std::string& path);   // links followed
bool entry_exists(const std::string& path);  // links not followed: a dangling link exists

// All of a file of at most `most` bytes.
Result<std::string> read_text(const std::string& path, std::uint64_t most, const std::string& where,
                              Code too_large);

// Names in a folder, sorted, without "." and "..".
Result<std::vector<std::string>> list_folder(const std::string& path);

std::string join_path(const std::string& folder, const std::string& name);

}  // namespace ullage::checkpoint
