#include "checkpoint/file.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <system_error>
#include <utility>

namespace ullage::checkpoint {
namespace {

Error system_error(int number, const std::string& where) {
  const bool absent = number == ENOENT || number == ENOTDIR;
  const bool out_of_room = number == EMFILE || number == ENFILE || number == ENOMEM;
  return {.code = absent        ? Code::not_found
                  : out_of_room ? Code::resource
                                : Code::not_readable,
          .what = absent ? "no such file"
                         : "cannot be read: " + std::generic_category().message(number),
          .where = where,
          .expected = {},
          .found = {}};
}

const char* kind_name(mode_t mode) {
  switch (mode & S_IFMT) {
    case S_IFDIR:
      return "a folder";
    case S_IFIFO:
      return "a pipe";
    case S_IFSOCK:
      return "a socket";
    case S_IFCHR:
    case S_IFBLK:
      return "a device";
    default:
      return "something else";
  }
}

Error not_regular(mode_t mode, const std::string& where) {
  return {Code::not_readable, "not a regular file", where, {}, kind_name(mode)};
}

}  // namespace

File::File(File&& other) noexcept
    : descriptor_(std::exchange(other.descriptor_, -1)), identity_(other.identity_) {}

File& File::operator=(File&& other) noexcept {
  std::swap(descriptor_, other.descriptor_);
  std::swap(identity_, other.identity_);
  return *this;
}

File::~File() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

Result<File> File::open(const std::string& path, const std::string& where) {
  if (path.find('\0') != std::string::npos)
    return Error{Code::not_found, "a file name cannot hold a zero byte", where, {}, {}};
  struct stat status{};
  if (::stat(path.c_str(), &status) != 0) return system_error(errno, where);
  if (!S_ISREG(status.st_mode)) return not_regular(status.st_mode, where);
  // What the name stands for may have changed since: O_NONBLOCK keeps a pipe from blocking, O_NOCTTY a
  // terminal from becoming ours, and the second look is at what was opened.
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
  if (descriptor < 0) return system_error(errno, where);
  File file(descriptor, {});
  if (::fstat(descriptor, &status) != 0) return system_error(errno, where);
  if (!S_ISREG(status.st_mode)) return not_regular(status.st_mode, where);
  file.identity_ = {.device = status.st_dev,
                    .inode = status.st_ino,
                    .bytes = static_cast<std::uint64_t>(status.st_size)};
  return file;
}

Status File::read(std::uint64_t offset, std::span<std::byte> out, const std::string& where) const {
  while (!out.empty()) {
    const ssize_t got = ::pread(descriptor_, out.data(), out.size(), static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return system_error(errno, where);
    if (got == 0)
      return Error{Code::not_readable, "the file became shorter while it was read", where, {}, {}};
    offset += static_cast<std::uint64_t>(got);
    out = out.subspan(static_cast<std::size_t>(got));
  }
  return {};
}

PathKind kind_of(const std::string& path) {
  struct stat status{};
  if (::stat(path.c_str(), &status) != 0) return PathKind::absent;
  if (S_ISREG(status.st_mode)) return PathKind::file;
  return S_ISDIR(status.st_mode) ? PathKind::folder : PathKind::other;
}

bool entry_exists(const std::string& path) {
  struct stat status{};
  return ::lstat(path.c_str(), &status) == 0;
}

Result<std::string> read_text(const std::string& path, std::uint64_t most, const std::string& where,
                              Code too_large) {
  ULLAGE_ASSIGN(const File file, File::open(path, where));
  if (file.bytes() > most)
    return Error{too_large, "the file is too large for what it should hold", where,
                 "at most " + std::to_string(most) + " bytes", std::to_string(file.bytes())};
  std::string text(static_cast<std::size_t>(file.bytes()), '\0');
  ULLAGE_TRY(file.read(0, std::as_writable_bytes(std::span(text)), where));
  return text;
}

Result<std::vector<std::string>> list_folder(const std::string& path) {
  const std::unique_ptr<DIR, int (*)(DIR*)> folder(::opendir(path.c_str()), ::closedir);
  if (folder == nullptr) return system_error(errno, path);
  std::vector<std::string> names;
  errno = 0;
  while (const dirent* entry = ::readdir(folder.get())) {
    const std::string name = entry->d_name;
    if (name != "." && name != "..") names.push_back(name);
    errno = 0;
  }
  if (errno != 0) return system_error(errno, path);
  std::sort(names.begin(), names.end());
  return names;
}

std::string join_path(const std::string& folder, const std::string& name) {
  if (folder.empty() || folder == ".") return name;
  return folder.back() == '/' ? folder + name : folder + "/" + name;
}

}  // namespace ullage::checkpoint
