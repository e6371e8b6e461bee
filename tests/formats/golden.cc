#include "formats/golden.h"

#include <bit>
#include <cstring>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <utility>

namespace ullage::formats {
namespace {

class Cursor {
 public:
  explicit Cursor(std::vector<char> bytes) : bytes_(std::move(bytes)) {}

  template <class T>
  std::vector<T> take(std::size_t count) {
    if (count * sizeof(T) > bytes_.size() - at_) throw std::runtime_error("golden file too short");
    std::vector<T> values(count);
    std::memcpy(values.data(), bytes_.data() + at_, count * sizeof(T));
    at_ += count * sizeof(T);
    return values;
  }
  [[nodiscard]] bool done() const { return at_ == bytes_.size(); }

 private:
  std::vector<char> bytes_;
  std::size_t at_ = 0;
};

Golden read(const std::string& file, const Format& format) {
  std::ifstream stream(std::string(ULLAGE_TEST_DATA) + "/formats/" + file, std::ios::binary);
  Cursor cursor(std::vector<char>(std::istreambuf_iterator<char>(stream), {}));
  const std::vector<char> magic = cursor.take<char>(8);
  if (std::memcmp(magic.data(), "ULGOLD1", 8) != 0) throw std::runtime_error(file + ": magic");
  cursor.take<char>(24);
  const std::vector<std::uint32_t> sizes = cursor.take<std::uint32_t>(4);
  Golden golden{.file = file, .format = format};
  golden.values = cursor.take<std::uint32_t>(sizes[1]);
  golden.inputs = cursor.take<float>(sizes[2] / 2);
  for (std::uint32_t i = 0; i < sizes[2] / 2; ++i) {
    const auto bits = std::bit_cast<std::uint32_t>(golden.inputs[i]);
    golden.inputs.push_back(std::bit_cast<float>(bits | 0x80000000));
  }
  for (std::uint32_t variant = 0; variant < sizes[3]; ++variant)
    golden.codes.push_back(cursor.take<std::uint16_t>(sizes[2]));
  golden.flags = cursor.take<std::uint8_t>(sizes[2]);
  if (!cursor.done()) throw std::runtime_error(file + ": bytes left over");
  return golden;
}

}  // namespace

const std::vector<Golden>& golden_vectors() {
  static const std::vector<Golden> all = [] {
    const std::pair<const char*, Format> files[] = {
        {"float8_e4m3fn.bin", kE4M3},  {"float8_e4m3fnuz.bin", kE4M3Fnuz},
        {"float8_e5m2.bin", kE5M2},    {"float8_e5m2fnuz.bin", kE5M2Fnuz},
        {"float8_e8m0fnu.bin", kE8M0}, {"float4_e2m1fn.bin", kE2M1},
        {"float6_e2m3fn.bin", kE2M3},  {"float6_e3m2fn.bin", kE3M2},
        {"float16.bin", kFp16},        {"bfloat16.bin", kBf16}};
    std::vector<Golden> read_all;
    for (const auto& [file, format] : files) read_all.push_back(read(file, format));
    return read_all;
  }();
  return all;
}

}  // namespace ullage::formats
