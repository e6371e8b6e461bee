#include "checkpoint/magic.h"

#include <string_view>

namespace ullage::checkpoint {
namespace {

struct Magic {
  std::string_view bytes;
  const char* what;
};

using namespace std::string_view_literals;

constexpr Magic kMagics[] = {
    {"version https://git-lfs"sv,
     "this is a Git LFS pointer, not the weights it stands for: run git lfs pull"},
    {"PK\x03\x04"sv, "this is a zip archive (PyTorch writes such pickles), which is never read"},
    {"PK\x05\x06"sv, "this is an empty zip archive, not weights"},
    {"GGUF"sv, "this is a GGUF file; ullage reads the safetensors checkpoint it was made from"},
    {"\x80\x02"sv, "this is a pickle, which can run code and is never read"},
    {"\x80\x03"sv, "this is a pickle, which can run code and is never read"},
    {"\x80\x04"sv, "this is a pickle, which can run code and is never read"},
    {"\x80\x05"sv, "this is a pickle, which can run code and is never read"},
    {"\x89HDF"sv, "this is an HDF5 file, not safetensors"},
    {"\x93NUMPY"sv, "this is a NumPy array, not safetensors"},
    {"\x7f"
     "ELF"sv,
     "this is a program, not weights"},
    {"\x1f\x8b\x08"sv, "this is a gzip archive, not safetensors"},
    {"<!DOCTYPE"sv, "this is a web page, not weights: the download went wrong"},
    {"<!doctype"sv, "this is a web page, not weights: the download went wrong"},
    {"<html"sv, "this is a web page, not weights: the download went wrong"},
};

}  // namespace

Status refuse_other_format(std::span<const unsigned char> start, const std::string& where) {
  const std::string_view text(reinterpret_cast<const char*>(start.data()), start.size());
  for (const Magic& magic : kMagics)
    if (text.starts_with(magic.bytes))
      return Error{Code::format_refused, magic.what, where, {}, {}};
  return {};
}

}  // namespace ullage::checkpoint
