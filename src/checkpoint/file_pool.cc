#include "checkpoint/file_pool.h"

#include <utility>

namespace ullage::checkpoint {

Status FilePool::add(const std::string& path, const std::string& name) {
  const std::lock_guard lock(mutex_);
  if (open_ == most_open_) close_oldest();
  ULLAGE_ASSIGN(File file, File::open(path, name));
  const FileIdentity identity = file.identity();
  entries_.push_back({.path = path,
                      .name = name,
                      .identity = identity,
                      .file = std::make_shared<const File>(std::move(file)),
                      .last_use = ++uses_});
  ++open_;
  return {};
}

Status FilePool::read(std::uint32_t file, std::uint64_t offset, std::span<std::byte> out) {
  ULLAGE_ASSIGN(const std::shared_ptr<const File> open, acquire(file));
  return open->read(offset, out, entries_[file].name);
}

std::size_t FilePool::open_files() {
  const std::lock_guard lock(mutex_);
  return open_;
}

Result<std::shared_ptr<const File>> FilePool::acquire(std::uint32_t file) {
  const std::lock_guard lock(mutex_);
  Entry& entry = entries_[file];
  entry.last_use = ++uses_;
  if (entry.file != nullptr) return entry.file;
  if (open_ == most_open_) close_oldest();
  ULLAGE_ASSIGN(File again, File::open(entry.path, entry.name));
  if (again.identity() != entry.identity)
    return Error{Code::not_readable,
                 "the file was replaced while the checkpoint was read",
                 entry.name,
                 {},
                 {}};
  entry.file = std::make_shared<const File>(std::move(again));
  ++open_;
  return entry.file;
}

// A thread that still reads it keeps it open until it is done. Linear, but once a file that is opened.
void FilePool::close_oldest() {
  Entry* oldest = nullptr;
  for (Entry& entry : entries_)
    if (entry.file != nullptr && (oldest == nullptr || entry.last_use < oldest->last_use))
      oldest = &entry;
  if (oldest == nullptr) return;
  oldest->file.reset();
  --open_;
}

}  // namespace ullage::checkpoint
