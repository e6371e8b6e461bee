// Checkpoints written on the spot by tests: safetensors files from names, types, shapes and bytes, valid
// unless the test breaks them, and folders that vanish with the test. Shares no code with the reader.
#pragma once

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace ullage::test {

struct StoredTensor {
  std::string name;
  std::string dtype;  // as the file spells it: "BF16"
  std::vector<std::uint64_t> shape;
  std::string bytes;  // little endian, C order
};

template <class T>
std::string bytes_of(const std::vector<T>& values) {
  std::string bytes(values.size() * sizeof(T), '\0');
  if (!values.empty()) std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

inline StoredTensor f32_tensor(std::string name, std::vector<std::uint64_t> shape,
                               const std::vector<float>& values) {
  return {std::move(name), "F32", std::move(shape), bytes_of(values)};
}

// The upper halves of floats that BF16 holds exactly; others are cut, not rounded.
inline StoredTensor bf16_tensor(std::string name, std::vector<std::uint64_t> shape,
                                const std::vector<float>& values) {
  std::vector<std::uint16_t> codes;
  for (const float value : values) {
    std::uint32_t bits = 0;
    std::memcpy(&bits, &value, 4);
    codes.push_back(static_cast<std::uint16_t>(bits >> 16));
  }
  return {std::move(name), "BF16", std::move(shape), bytes_of(codes)};
}

inline std::string json_string(const std::string& text) {
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += c;
  }
  return quoted + "\"";
}

// "NAME": {...} as a header lists it.
inline std::string header_entry(const StoredTensor& tensor, std::uint64_t begin) {
  std::string shape;
  for (const std::uint64_t size : tensor.shape)
    shape += (shape.empty() ? "" : ",") + std::to_string(size);
  return json_string(tensor.name) + ":{\"dtype\":" + json_string(tensor.dtype) + ",\"shape\":[" +
         shape + "],\"data_offsets\":[" + std::to_string(begin) + "," +
         std::to_string(begin + tensor.bytes.size()) + "]}";
}

// 8 bytes of length, header, data: whatever they hold.
inline std::string file_of(const std::string& json, const std::string& data) {
  const std::uint64_t length = json.size();
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &length, 8);
  return bytes + json + data;
}

struct Parts {
  std::string json, data;
};

inline Parts safetensors_parts(const std::vector<StoredTensor>& tensors) {
  Parts parts;
  parts.json = "{";
  for (const StoredTensor& tensor : tensors) {
    if (parts.json.size() > 1) parts.json += ',';
    parts.json += header_entry(tensor, parts.data.size());
    parts.data += tensor.bytes;
  }
  parts.json += '}';
  return parts;
}

inline std::string safetensors_file(const std::vector<StoredTensor>& tensors) {
  const Parts parts = safetensors_parts(tensors);
  return file_of(parts.json, parts.data);
}

// A new folder under the system's temporary one, removed at the end.
class TempFolder {
 public:
  TempFolder() {
    std::random_device device;
    do {
      path_ = std::filesystem::temp_directory_path() / ("ullage-test-" + std::to_string(device()));
    } while (!std::filesystem::create_directory(path_));
  }
  ~TempFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::string string() const { return path_.string(); }
  std::string operator/(const std::string& name) const { return (path_ / name).string(); }

  // Writes a file and the folders above it; gives its path.
  std::string write(const std::string& name, const std::string& bytes) const {
    const std::filesystem::path file = path_ / name;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file, std::ios::binary) << bytes;
    return file.string();
  }

 private:
  std::filesystem::path path_;
};

}  // namespace ullage::test
