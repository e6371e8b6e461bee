// Names of files and folders, as text: nothing is looked up.
#pragma once

#include <cstddef>
#include <string>

namespace ullage {

// "a/b.c" -> "b.c"
inline std::string base_name(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string::npos ? path : path.substr(slash + 1);
}

// "a/b.c" -> "a", "b.c" -> ".", "/b.c" -> "/"
inline std::string folder_name(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

}  // namespace ullage
