#include "ullage/checkpoint/store.h"

#include <algorithm>
#include <atomic>
#include <utility>
#include <vector>

#include "checkpoint/file.h"
#include "checkpoint/file_pool.h"
#include "checkpoint/header_state.h"
#include "checkpoint/magic.h"
#include "checkpoint/name_table.h"
#include "ullage/base/path.h"
#include "ullage/checkpoint/index.h"

namespace ullage::checkpoint {

namespace {

// Headers are held, and take several times their bytes.
constexpr std::uint64_t kMaxHeaderSum = 400'000'000;

}  // namespace

struct TensorStore::State {
  FilePool files;
  std::vector<Header> headers;     // one a file; own the names and shapes
  std::vector<TensorInfo> chosen;  // of a sharded set: what the index names
  NameTable names;                 // of `chosen`
  bool sharded = false;
  std::uint64_t header_bytes = 0;  // of all files
  std::atomic<std::uint64_t> bytes_read = 0;

  // Adds a file and its checked header.
  Status open(const std::string& path, const std::string& name);
  Status open_set(const Location& location);
};

Status TensorStore::State::open(const std::string& path, const std::string& name) {
  const auto file = static_cast<std::uint32_t>(files.size());
  ULLAGE_TRY(files.add(path, name));
  for (std::uint32_t earlier = 0; earlier < file; ++earlier)
    if (files.identity(earlier) == files.identity(file))
      return Error{Code::index_invalid, "two shards are one file", name, "a file for each shard",
                   files.name(earlier)};
  const std::uint64_t file_bytes = files.bytes(file);
  unsigned char start[kMagicBytes] = {};
  const std::size_t known = std::min<std::uint64_t>(sizeof start, file_bytes);
  ULLAGE_TRY(files.read(file, 0, std::as_writable_bytes(std::span(start).first(known))));
  const Result<std::uint64_t> length =
      header_length(std::span(start).first(known), file_bytes, name);
  if (!length.ok()) {
    ULLAGE_TRY(refuse_other_format(std::span(start).first(known), name));
    return length.error();
  }
  header_bytes += *length;
  if (header_bytes > kMaxHeaderSum)
    return Error{Code::header_too_large, "the headers of all shards are larger than any model's",
                 name, "at most " + std::to_string(kMaxHeaderSum) + " bytes",
                 std::to_string(header_bytes)};
  std::string json(static_cast<std::size_t>(*length), '\0');
  ULLAGE_TRY(files.read(file, 8, std::as_writable_bytes(std::span(json))));
  ULLAGE_ASSIGN(Header header, parse_header(std::move(json), file_bytes, name, file));
  headers.push_back(std::move(header));
  return {};
}

Status TensorStore::State::open_set(const Location& location) {
  const std::string index_name = base_name(location.index);
  ULLAGE_ASSIGN(std::string text,
                read_text(location.index, kMaxIndexBytes, index_name, Code::index_invalid));
  ULLAGE_ASSIGN(const ShardedIndex index, parse_index(std::move(text), index_name));
  for (const std::string& shard : index.shards) {
    const Status opened = open(join_path(location.folder, shard), shard);
    if (opened.ok()) continue;
    Error error = opened.error();
    if (error.code == Code::not_found)
      error.what = "the index names this shard, but there is no such file: fetch it";
    return error;
  }
  chosen.reserve(index.weight_map.size());
  for (const ShardedIndex::Entry& entry : index.weight_map) {
    const TensorInfo* tensor = headers[entry.shard].find(entry.tensor);
    if (tensor == nullptr)
      return Error{Code::tensor_missing,
                   "the index places this tensor in " + index.shards[entry.shard] +
                       ", but it is missing there",
                   index_name + ": " + std::string(entry.tensor),
                   {},
                   {}};
    chosen.push_back(*tensor);
  }
  std::sort(chosen.begin(), chosen.end(), [](const TensorInfo& a, const TensorInfo& b) {
    if (a.file != b.file) return a.file < b.file;
    if (a.begin != b.begin) return a.begin < b.begin;
    return a.name < b.name;
  });
  names.build(chosen);
  sharded = true;
  return {};
}

Result<TensorStore> TensorStore::open(const Location& location) {
  auto state = std::make_unique<State>();
  if (!location.index.empty())
    ULLAGE_TRY(state->open_set(location));
  else
    ULLAGE_TRY(state->open(location.weights, base_name(location.weights)));
  return TensorStore(std::move(state));
}

TensorStore::TensorStore(std::unique_ptr<State> state) : state_(std::move(state)) {}
TensorStore::TensorStore(TensorStore&&) noexcept = default;
TensorStore& TensorStore::operator=(TensorStore&&) noexcept = default;
TensorStore::~TensorStore() = default;

const TensorInfo* TensorStore::find(std::string_view name) const {
  return state_->sharded ? state_->names.find(name) : state_->headers[0].find(name);
}

Result<const TensorInfo*> TensorStore::get(std::string_view name) const {
  if (const TensorInfo* tensor = find(name)) return tensor;
  Error error{Code::tensor_missing, "the checkpoint has no such tensor", std::string(name), {}, {}};
  for (const Header& header : state_->headers)
    if (const TensorInfo* unlisted = header.find(name))
      error.what = "the index does not name this tensor, though " + file_name(unlisted->file) +
                   " holds it: the index and the shards do not belong together";
  return error;
}

std::span<const TensorInfo> TensorStore::tensors() const {
  return state_->sharded ? std::span<const TensorInfo>(state_->chosen)
                         : state_->headers[0].tensors();
}

Status TensorStore::read(const TensorInfo& tensor, std::uint64_t offset,
                         std::span<std::byte> out) const {
  if (offset > tensor.bytes || out.size() > tensor.bytes - offset)
    return Error{Code::value_invalid, "a read passes the end of the tensor", describe(tensor),
                 "at most " + std::to_string(tensor.bytes) + " bytes",
                 std::to_string(out.size()) + " from " + std::to_string(offset)};
  ULLAGE_TRY(state_->files.read(tensor.file, tensor.begin + offset, out));
  state_->bytes_read.fetch_add(out.size(), std::memory_order_relaxed);
  return {};
}

std::uint64_t TensorStore::bytes_read() const {
  return state_->bytes_read.load(std::memory_order_relaxed);
}

std::size_t TensorStore::files() const { return state_->files.size(); }

const std::string& TensorStore::file_name(std::uint32_t file) const {
  return state_->files.name(file);
}

std::string TensorStore::describe(const TensorInfo& tensor) const {
  return file_name(tensor.file) + ": " + std::string(tensor.name);
}

}  // namespace ullage::checkpoint
