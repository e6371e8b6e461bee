#include "ullage/base/result.h"

#include "ullage/base/text.h"

namespace ullage {

const char* name_of(Code code) {
  switch (code) {
    case Code::usage:
      return "usage";
    case Code::not_found:
      return "not_found";
    case Code::not_readable:
      return "not_readable";
    case Code::header_too_small:
      return "header_too_small";
    case Code::header_too_large:
      return "header_too_large";
    case Code::header_invalid:
      return "header_invalid";
    case Code::duplicate_key:
      return "duplicate_key";
    case Code::offset_invalid:
      return "offset_invalid";
    case Code::size_overflow:
      return "size_overflow";
    case Code::size_mismatch:
      return "size_mismatch";
    case Code::dtype_unsupported:
      return "dtype_unsupported";
    case Code::index_invalid:
      return "index_invalid";
    case Code::path_escape:
      return "path_escape";
    case Code::config_invalid:
      return "config_invalid";
    case Code::config_mismatch:
      return "config_mismatch";
    case Code::tensor_missing:
      return "tensor_missing";
    case Code::format_refused:
      return "format_refused";
    case Code::architecture_unknown:
      return "architecture_unknown";
    case Code::nothing_to_scan:
      return "nothing_to_scan";
    case Code::not_finite:
      return "not_finite";
    case Code::value_invalid:
      return "value_invalid";
    case Code::resource:
      return "resource";
    case Code::device_unavailable:
      return "device_unavailable";
    case Code::interrupted:
      return "interrupted";
  }
  return "unknown";
}

std::string Error::message() const {
  std::string line;
  if (!where.empty()) line += escape_name(where) + ": ";
  line += escape_text(what, 600);
  if (!expected.empty()) line += " (expected " + escape_name(expected);
  if (!found.empty()) line += (expected.empty() ? " (found " : ", found ") + escape_name(found);
  if (!expected.empty() || !found.empty()) line += ")";
  return line;
}

}  // namespace ullage
