#include "ullage/report/output.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>
#include <utility>

#include "ullage/base/path.h"

namespace ullage::report {
namespace {

constexpr std::size_t kBufferBytes = 1 << 20;
constexpr int kStandardOutput = STDOUT_FILENO;

// Temporaries by name, in static memory so that a signal handler can read them at any time. A slot
// goes free -> claimed (its owner writes the name) -> live (the file may exist) -> free; the
// handler takes live slots for good.
enum class Slot : int { free, claimed, live };
struct PendingName {
  std::atomic<Slot> state{Slot::free};
  std::array<char, PATH_MAX> path{};
};
std::array<PendingName, 32> pending;
static_assert(std::atomic<Slot>::is_always_lock_free, "read in a signal handler");

std::optional<int> claim_slot(const std::string& path) {
  for (std::size_t i = 0; i < pending.size(); ++i) {
    Slot expected = Slot::free;
    if (!pending[i].state.compare_exchange_strong(expected, Slot::claimed)) continue;
    std::memcpy(pending[i].path.data(), path.c_str(), path.size() + 1);
    pending[i].state.store(Slot::live);
    return static_cast<int>(i);
  }
  return std::nullopt;
}

const char* slot_path(int slot) { return pending[static_cast<std::size_t>(slot)].path.data(); }

// True when the handler has not taken it.
bool release_slot(int slot) {
  Slot expected = Slot::live;
  return pending[static_cast<std::size_t>(slot)].state.compare_exchange_strong(expected,
                                                                               Slot::free);
}

Error argument_error(const std::string& path, std::string what) {
  return {Code::usage, std::move(what), path, {}, {}};
}

Error system_error(const std::string& path, int number) {
  struct Known {
    int number;
    Code code;
    const char* what;
  };
  static constexpr Known kKnown[] = {
      {ENOENT, Code::usage, "there is no such folder; make it first"},
      {ENOTDIR, Code::usage, "a part of this path is a file, not a folder"},
      {EISDIR, Code::usage, "this is a folder; name a file"},
      {ENAMETOOLONG, Code::usage, "this name is too long for the file system"},
      {ELOOP, Code::usage, "its links lead in a circle"},
      {EACCES, Code::resource, "no permission to write here; choose another folder"},
      {EPERM, Code::resource, "no permission to write here; choose another folder"},
      {EROFS, Code::resource, "this file system is read-only; choose another folder"},
      {ENOSPC, Code::resource, "no space left on the disk; free some or choose another folder"},
      {EDQUOT, Code::resource, "the disk quota is used up; free some or choose another folder"},
      {EFBIG, Code::resource, "the file would be larger than this process may write"},
      {EPIPE, Code::resource, "the reader of this pipe is gone"},
  };
  for (const Known& known : kKnown) {
    if (known.number == number) return {known.code, known.what, path, {}, {}};
  }
  return {Code::resource, std::string("cannot write: ") + std::strerror(number), path, {}, {}};
}

Status write_all(int descriptor, std::string_view bytes, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(descriptor, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return system_error(path, errno);
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
  return {};
}

// The absolute path without links of a file or folder that exists.
Result<std::string> resolve(const std::string& path, const std::string& named) {
  const std::unique_ptr<char, decltype(&std::free)> real(::realpath(path.c_str(), nullptr),
                                                         &std::free);
  if (real == nullptr) return system_error(named, errno);
  return std::string(real.get());
}

// Where the bytes will end: absolute, so that a later change of the working folder does not matter.
Result<std::string> resolve_new(const std::string& path) {
  struct stat link{};
  if (::lstat(path.c_str(), &link) == 0)
    return argument_error(path, "this link leads to nothing; remove it first");
  if (path.back() == '/')
    return argument_error(path, "there is no such folder, and a file needs a name");
  ULLAGE_ASSIGN(std::string folder, resolve(folder_name(path), path));
  struct stat parent{};
  if (::stat(folder.c_str(), &parent) == 0 && !S_ISDIR(parent.st_mode))
    return system_error(path, ENOTDIR);
  if (folder.back() != '/') folder += '/';
  return folder + base_name(path);
}

void sync_folder(const std::string& target) noexcept {
  // Without it the new name may be lost in a power cut, but never the old file: not worth an error.
  const int folder = ::open(folder_name(target).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder < 0) return;
  ::fsync(folder);
  ::close(folder);
}

}  // namespace

Result<AtomicFile> AtomicFile::create(const std::string& path) {
  if (path.empty() || path.find('\0') != std::string::npos)
    return argument_error(path, "a file needs a name");
  AtomicFile file;
  file.path_ = path;
  file.open_ = true;
  if (path == "-") return file;

  struct stat status{};
  const bool exists = ::stat(path.c_str(), &status) == 0;
  if (!exists && errno != ENOENT) return system_error(path, errno);
  if (exists && S_ISDIR(status.st_mode)) return system_error(path, EISDIR);
  if (exists && ::access(path.c_str(), W_OK) != 0) return system_error(path, errno);
  if (exists && !S_ISREG(status.st_mode)) return file;  // a pipe or a device: never renamed over

  ULLAGE_ASSIGN(file.target_, exists ? resolve(path, path) : resolve_new(path));
  static std::atomic<unsigned> counter{0};
  const std::string folder = folder_name(file.target_);
  for (int attempt = 0;; ++attempt) {
    const std::string temporary = folder + (folder.back() == '/' ? "" : "/") + ".ullage-" +
                                  std::to_string(::getpid()) + "-" +
                                  std::to_string(counter.fetch_add(1)) + ".tmp";
    if (temporary.size() >= PATH_MAX) return system_error(path, ENAMETOOLONG);
    const std::optional<int> slot = claim_slot(temporary);
    if (!slot)
      return Error{Code::resource, "too many files are being written at once", path, {}, {}};
    file.slot_ = *slot;
    // Mode 0666 less the umask, as for any new file.
    file.descriptor_ = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (file.descriptor_ >= 0) break;
    const int number = errno;
    release_slot(std::exchange(file.slot_, -1));
    if (number != EEXIST || attempt == 100) return system_error(path, number);
  }
  if (exists && ::fchmod(file.descriptor_, status.st_mode & 0777) != 0)
    return system_error(path, errno);
  return file;
}

AtomicFile::AtomicFile(AtomicFile&& other) noexcept { *this = std::move(other); }

AtomicFile& AtomicFile::operator=(AtomicFile&& other) noexcept {
  if (this == &other) return *this;
  discard();
  path_ = std::move(other.path_);
  target_ = std::move(other.target_);
  buffer_ = std::move(other.buffer_);
  open_ = std::exchange(other.open_, false);
  descriptor_ = std::exchange(other.descriptor_, -1);
  slot_ = std::exchange(other.slot_, -1);
  return *this;
}

AtomicFile::~AtomicFile() { discard(); }

void AtomicFile::discard() noexcept {
  open_ = false;
  if (descriptor_ >= 0) ::close(std::exchange(descriptor_, -1));
  if (slot_ < 0) return;
  // Unlinked while the slot still names it, so that no moment is left in which a signal would leave
  // it behind.
  ::unlink(slot_path(slot_));
  release_slot(std::exchange(slot_, -1));
}

Status AtomicFile::flush() {
  const Status written = write_all(descriptor_, buffer_, path_);
  buffer_.clear();
  if (!written.ok()) discard();
  return written;
}

Status AtomicFile::write(std::string_view bytes) {
  if (!open_)
    return Error{Code::resource, "this file is closed after an error or a commit", path_, {}, {}};
  buffer_ += bytes;
  return target_.empty() || buffer_.size() < kBufferBytes ? Status() : flush();
}

Status AtomicFile::commit() {
  ULLAGE_TRY(write({}));
  if (target_.empty()) return commit_stream();
  ULLAGE_TRY(flush());
  // Some file systems have no fsync; that is not the user's fault.
  int number = 0;
  if (::fsync(descriptor_) != 0 && errno != EINVAL && errno != ENOTSUP) number = errno;
  if (::close(std::exchange(descriptor_, -1)) != 0 && number == 0 && errno != EINTR) number = errno;
  if (number == 0 && ::rename(slot_path(slot_), target_.c_str()) != 0) number = errno;
  if (number != 0) {
    discard();
    return system_error(path_, number);
  }
  release_slot(std::exchange(slot_, -1));
  open_ = false;
  sync_folder(target_);
  return {};
}

// Standard output, a pipe or a device: all that was kept, in one go.
Status AtomicFile::commit_stream() {
  open_ = false;
  if (path_ == "-") {
    std::fflush(stdout);  // what was printed before stays before
    return write_all(kStandardOutput, buffer_, "standard output");
  }
  descriptor_ = ::open(path_.c_str(), O_WRONLY | O_CLOEXEC | O_NOCTTY);
  if (descriptor_ < 0) return system_error(path_, errno);
  const Status written = write_all(descriptor_, buffer_, path_);
  discard();
  return written;
}

Status write_file(const std::string& path, std::string_view bytes) {
  ULLAGE_ASSIGN(AtomicFile file, AtomicFile::create(path));
  ULLAGE_TRY(file.write(bytes));
  return file.commit();
}

void remove_pending_files() noexcept {
  const int number = errno;
  for (PendingName& name : pending) {
    Slot expected = Slot::live;
    if (name.state.compare_exchange_strong(expected, Slot::claimed)) ::unlink(name.path.data());
  }
  errno = number;
}

}  // namespace ullage::report
