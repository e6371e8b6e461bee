#include "ullage/checkpoint/header.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <deque>
#include <memory_resource>

#include "checkpoint/header_state.h"
#include "checkpoint/json.h"
#include "ullage/base/checked.h"

namespace ullage::checkpoint {
namespace {

// Bytes of the shortest entry, "":{"dtype":"U8","shape":[],"data_offsets":[0,0]}, but for its comma.
constexpr std::size_t kShortestEntry = 49;

enum Field : unsigned { kDtype = 1, kShape = 2, kOffsets = 4, kAllFields = 7 };

struct FieldName {
  std::string_view name;
  Field field;
};
constexpr std::array<FieldName, 3> kFields = {
    {{"dtype", kDtype}, {"shape", kShape}, {"data_offsets", kOffsets}}};

// The entries of one header, in the order of its text.
class HeaderParser {
 public:
  HeaderParser(Header::State& state, const std::string& where, std::uint32_t file,
               std::uint64_t data_begin, std::uint64_t data_bytes)
      : state_(state),
        reader_(state.json),
        where_(where),
        file_(file),
        data_begin_(data_begin),
        data_bytes_(data_bytes) {}

  Status parse();

 private:
  Status metadata();
  Status entry(std::string_view name);
  Status dtype(TensorInfo& tensor);
  Status shape(TensorInfo& tensor);
  Status offsets(TensorInfo& tensor);
  Status check(TensorInfo& tensor, std::uint64_t end) const;

  Error syntax() const { return json_error(reader_, Code::header_invalid, where_); }
  Error at(std::string_view name, Code code, std::string what, std::string expected = {},
           std::string found = {}) const {
    return {code, std::move(what), where_ + ": " + std::string(name), std::move(expected),
            std::move(found)};
  }
  // The error of a token that is not what the entry needs: the JSON's own error if it is broken there.
  Error unexpected(Token token, std::string_view name, std::string what) const {
    if (token == Token::error) return syntax();
    return at(name, Code::header_invalid, std::move(what));
  }

  Header::State& state_;
  JsonReader reader_;
  const std::string& where_;
  std::uint32_t file_;
  std::uint64_t data_begin_, data_bytes_;
  std::uint64_t end_ = 0;  // data_offsets[1] of the entry being read
};

Status HeaderParser::parse() {
  const Token first = reader_.next();
  if (first == Token::error) return syntax();
  if (first != Token::object_begin)
    return Error{Code::header_invalid, "the header is not a JSON object", where_, {}, {}};
  bool has_metadata = false;
  for (;;) {
    const Token token = reader_.next();
    if (token == Token::object_end) break;
    if (token != Token::key) return syntax();
    const std::string_view name = reader_.string();
    if (name != "__metadata__") {
      ULLAGE_TRY(entry(name));
      continue;
    }
    if (has_metadata) return at(name, Code::duplicate_key, "the header has this key twice");
    has_metadata = true;
    ULLAGE_TRY(metadata());
  }
  return reader_.next() == Token::end ? Status() : syntax();
}

// A map of strings to strings, or null (which the reference reader takes too). Nothing in it is used.
Status HeaderParser::metadata() {
  constexpr const char* kRule = "it must map strings to strings";
  constexpr std::string_view kName = "__metadata__";
  Token token = reader_.next();
  if (token == Token::null) return {};
  if (token != Token::object_begin) return unexpected(token, kName, kRule);
  std::deque<std::string_view> keys;  // grows without the copies of a vector: memory is bounded
  while ((token = reader_.next()) == Token::key) {
    keys.push_back(reader_.string());
    token = reader_.next();
    if (token != Token::string) return unexpected(token, kName, kRule);
  }
  if (token != Token::object_end) return syntax();
  std::sort(keys.begin(), keys.end());
  const auto twice = std::adjacent_find(keys.begin(), keys.end());
  if (twice == keys.end()) return {};
  return at(kName, Code::duplicate_key, "it has one key twice", {}, std::string(*twice));
}

Status HeaderParser::entry(std::string_view name) {
  TensorInfo tensor;
  tensor.name = name;
  tensor.file = file_;
  Token token = reader_.next();
  if (token != Token::object_begin)
    return unexpected(token, name,
                      "its entry must be an object with dtype, shape and data_offsets");
  unsigned seen = 0;
  while ((token = reader_.next()) == Token::key) {
    const std::string_view key = reader_.string();
    const auto* field = std::find_if(kFields.begin(), kFields.end(),
                                     [&](const FieldName& f) { return f.name == key; });
    // A field that is not known here could change what the bytes mean (strides, say).
    if (field == kFields.end())
      return at(name, Code::header_invalid,
                "its entry has a field that safetensors does not define",
                "dtype, shape, data_offsets", std::string(key));
    if ((seen & field->field) != 0)
      return at(name, Code::duplicate_key, "its entry has one field twice", {}, std::string(key));
    seen |= field->field;
    ULLAGE_TRY(field->field == kDtype   ? dtype(tensor)
               : field->field == kShape ? shape(tensor)
                                        : offsets(tensor));
  }
  if (token != Token::object_end) return syntax();
  for (const FieldName& field : kFields)
    if ((seen & field.field) == 0)
      return at(name, Code::header_invalid, "its entry lacks a field", std::string(field.name));
  ULLAGE_TRY(check(tensor, end_));
  state_.tensors.push_back(tensor);
  return {};
}

Status HeaderParser::dtype(TensorInfo& tensor) {
  const Token token = reader_.next();
  if (token != Token::string) return unexpected(token, tensor.name, "its dtype must be a string");
  const std::optional<Dtype> known = dtype_from_name(reader_.string());
  if (!known)
    return at(tensor.name, Code::dtype_unsupported, "its dtype is none that safetensors defines",
              {}, std::string(reader_.string()));
  tensor.dtype = *known;
  return {};
}

Status HeaderParser::shape(TensorInfo& tensor) {
  constexpr const char* kRule = "its shape must be a list of unsigned integers below 2^64";
  Token token = reader_.next();
  if (token != Token::array_begin) return unexpected(token, tensor.name, kRule);
  std::array<std::uint64_t, kMaxRank> sizes;
  std::size_t rank = 0;
  while ((token = reader_.next()) == Token::unsigned_integer) {
    if (rank == kMaxRank)
      return at(tensor.name, Code::header_invalid, "its shape has too many dimensions",
                "at most " + std::to_string(kMaxRank));
    sizes[rank++] = reader_.integer();
  }
  if (token != Token::array_end) return unexpected(token, tensor.name, kRule);
  if (rank == 0) return {};
  auto* kept = static_cast<std::uint64_t*>(
      state_.sizes.allocate(rank * sizeof(std::uint64_t), alignof(std::uint64_t)));
  std::copy_n(sizes.begin(), rank, kept);
  tensor.shape = {kept, rank};
  return {};
}

Status HeaderParser::offsets(TensorInfo& tensor) {
  constexpr const char* kRule = "its data_offsets must be two unsigned integers below 2^64";
  Token token = reader_.next();
  if (token != Token::array_begin) return unexpected(token, tensor.name, kRule);
  std::uint64_t pair[2];
  for (std::uint64_t& offset : pair) {
    token = reader_.next();
    if (token != Token::unsigned_integer) return unexpected(token, tensor.name, kRule);
    offset = reader_.integer();
  }
  token = reader_.next();
  if (token != Token::array_end) return unexpected(token, tensor.name, kRule);
  tensor.begin = pair[0];
  end_ = pair[1];
  return {};
}

// The range against the file, and against shape and dtype. Makes `begin` absolute.
Status HeaderParser::check(TensorInfo& tensor, std::uint64_t end) const {
  const auto range = [&] { return shape_text(std::array{tensor.begin, end}); };
  if (tensor.begin > end)
    return at(tensor.name, Code::offset_invalid, "its data_offsets end before they begin", {},
              range());
  std::uint64_t elements = 1;
  for (const std::uint64_t size : tensor.shape) {
    const auto product = checked_multiply(elements, size);
    if (!product)
      return at(tensor.name, Code::size_overflow, "the product of its shape does not fit 64 bits",
                {}, shape_text(tensor.shape));
    elements = *product;
  }
  const auto bits = checked_multiply(elements, bits_of(tensor.dtype));
  if (!bits)
    return at(tensor.name, Code::size_overflow, "its size in bits does not fit 64 bits", {},
              std::string(name_of(tensor.dtype)) + " " + shape_text(tensor.shape));
  if (*bits % 8 != 0)
    return at(tensor.name, Code::size_mismatch, "it does not end on a whole byte", {},
              std::string(name_of(tensor.dtype)) + " " + shape_text(tensor.shape));
  tensor.bytes = end - tensor.begin;
  if (tensor.bytes != *bits / 8)
    return at(tensor.name, Code::size_mismatch,
              "its data_offsets do not fit its shape " + shape_text(tensor.shape) + " of " +
                  name_of(tensor.dtype),
              std::to_string(*bits / 8) + " bytes", std::to_string(tensor.bytes));
  if (end > data_bytes_)
    return at(
        tensor.name, Code::offset_invalid,
        "its data passes the end of the file; the file is cut short or damaged: fetch it again",
        "at most " + std::to_string(data_bytes_), range());
  tensor.begin += data_begin_;
  return {};
}

// No hole, no overlap, nothing behind the last tensor. Every range lies in the file already.
Status check_cover(std::span<const TensorInfo> tensors, const std::string& where,
                   std::uint64_t data_begin, std::uint64_t file_bytes) {
  std::uint64_t at = data_begin;
  for (const TensorInfo& tensor : tensors) {
    if (tensor.begin != at)
      return Error{Code::offset_invalid,
                   tensor.begin < at ? "its data overlaps another tensor's"
                                     : "there is a hole before its data",
                   where + ": " + std::string(tensor.name),
                   "data_offsets from " + std::to_string(at - data_begin),
                   std::to_string(tensor.begin - data_begin)};
    at = tensor.begin + tensor.bytes;
  }
  if (at == file_bytes) return {};
  return Error{Code::offset_invalid, "there are bytes behind the last tensor", where,
               std::to_string(at) + " bytes", std::to_string(file_bytes)};
}

// Of two tensors at one place the empty ones come first; names make the order total.
bool comes_first(const TensorInfo& a, const TensorInfo& b) {
  if (a.begin != b.begin) return a.begin < b.begin;
  if (a.bytes != b.bytes) return a.bytes < b.bytes;
  return a.name < b.name;
}

}  // namespace

std::string shape_text(std::span<const std::uint64_t> shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i)
    text += (i == 0 ? "" : ", ") + std::to_string(shape[i]);
  return text + "]";
}

Result<std::uint64_t> header_length(std::span<const unsigned char> start, std::uint64_t file_bytes,
                                    const std::string& where) {
  if (start.size() < 8 || file_bytes < 8)
    return Error{Code::header_too_small, "too short for a safetensors file", where,
                 "at least 8 bytes", std::to_string(file_bytes)};
  std::uint64_t length = 0;
  std::memcpy(&length, start.data(), 8);
  // The number is not shown: of a file that is something else it would be its content.
  if (length > kMaxHeaderBytes)
    return Error{Code::header_too_large,
                 "its first 8 bytes are not the length of a safetensors header (at most " +
                     std::to_string(kMaxHeaderBytes) +
                     "); the file is damaged or of another format",
                 where,
                 {},
                 {}};
  if (length > file_bytes - 8)
    return Error{
        Code::header_too_large,
        "the header is longer than the file; the file is cut short or damaged: fetch it again",
        where, "at most " + std::to_string(file_bytes - 8), std::to_string(length)};
  return length;
}

Header::Header(std::unique_ptr<State> state) : state_(std::move(state)) {}
Header::Header(Header&&) noexcept = default;
Header& Header::operator=(Header&&) noexcept = default;
Header::~Header() = default;

std::span<const TensorInfo> Header::tensors() const { return state_->tensors; }

const TensorInfo* Header::find(std::string_view name) const { return state_->names.find(name); }

Result<Header> parse_header(std::string json, std::uint64_t file_bytes, const std::string& where,
                            std::uint32_t file) {
  const auto data_begin = checked_add(8, json.size());
  if (!data_begin || *data_begin > file_bytes)
    return Error{Code::header_too_large, "the header is longer than the file", where,
                 "at most " + std::to_string(file_bytes), std::to_string(json.size())};
  auto state = std::make_unique<Header::State>();
  state->json = std::move(json);
  // Every entry opens a brace: room for all of them, so that the array never moves while it grows.
  const auto braces =
      static_cast<std::size_t>(std::count(state->json.begin(), state->json.end(), '{'));
  state->tensors.reserve(std::min(braces, state->json.size() / kShortestEntry + 1));
  HeaderParser parser(*state, where, file, *data_begin, file_bytes - *data_begin);
  ULLAGE_TRY(parser.parse());
  std::vector<TensorInfo>& tensors = state->tensors;
  if (!std::is_sorted(tensors.begin(), tensors.end(), comes_first))
    std::sort(tensors.begin(), tensors.end(), comes_first);
  if (const std::size_t twice = state->names.build(tensors); twice != tensors.size())
    return Error{Code::duplicate_key,
                 "the header has this tensor twice",
                 where + ": " + std::string(tensors[twice].name),
                 {},
                 {}};
  ULLAGE_TRY(check_cover(tensors, where, *data_begin, file_bytes));
  return Header(std::move(state));
}

}  // namespace ullage::checkpoint
