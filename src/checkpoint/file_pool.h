// The files of one checkpoint: opened at first use, kept open up to a bound, read by any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "checkpoint/file.h"
#include "ullage/base/result.h"

namespace ullage::checkpoint {

class FilePool {
 public:
  // Far below the usual limit of 1024 descriptors a process; sharded sets have up to a few hundred files,
  // and a scan works on few of them at a time.
  static constexpr std::size_t kMostOpen = 64;

  explicit FilePool(std::size_t most_open = kMostOpen) : most_open_(most_open) {}

  // Opens a file and adds it; `name` stands for it in errors. Not to be called while others read.
  Status add(const std::string& path, const std::string& name);

  // Fills `out` from `offset` on. A file that was closed meanwhile is opened again and must be the same.
  Status read(std::uint32_t file, std::uint64_t offset, std::span<std::byte> out);

  std::size_t size() const { return entries_.size(); }
  std::uint64_t bytes(std::uint32_t file) const { return entries_[file].identity.bytes; }
  const FileIdentity& identity(std::uint32_t file) const { return entries_[file].identity; }
  const std::string& name(std::uint32_t file) const { return entries_[file].name; }
  std::size_t open_files();

 private:
  struct Entry {
    std::string path, name;
    FileIdentity identity;
    std::shared_ptr<const File> file;  // null while closed
    std::uint64_t last_use = 0;
  };

  Result<std::shared_ptr<const File>> acquire(std::uint32_t file);
  void close_oldest();

  std::size_t most_open_;
  std::mutex mutex_;  // of everything below; held while a file is opened, never while one is read
  std::vector<Entry> entries_;
  std::size_t open_ = 0;
  std::uint64_t uses_ = 0;
};

}  // namespace ullage::checkpoint
