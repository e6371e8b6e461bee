// Result<T>: a value, or an Error that says which rule was broken, where, and what was found.
//
// Files, arguments and requests are untrusted: every function that reads them returns a Result.
// Broken invariants of our own are asserts. No function of the library prints, aborts or exits.
#pragma once

#include <cassert>
#include <cstdint>
#include <string>
#include <utility>
#include <variant>

namespace ullage {

// One code a broken rule; the command maps them to exit codes (exit_code in apps).
enum class Code : std::uint8_t {
  usage,             // the caller asked for something that does not exist
  not_found,         // no such file, tensor, layer or name
  not_readable,      // the operating system refused, or the file is not a regular one
  header_too_small,  // fewer than the 8 bytes of a safetensors length
  header_too_large,  // the header is longer than the cap or the file
  header_invalid,    // not UTF-8, not JSON, or not of the required form
  duplicate_key,     // one JSON object has one key twice
  offset_invalid,    // tensors leave a hole, overlap, or pass the end of the file
  size_overflow,     // a product of sizes does not fit 64 bits
  size_mismatch,     // bytes do not fit shape and dtype
  dtype_unsupported,
  index_invalid,    // model.safetensors.index.json
  path_escape,      // a name in a file that would leave the checkpoint's folder
  config_invalid,   // config.json
  config_mismatch,  // config.json and the shapes of the tensors disagree
  tensor_missing,
  format_refused,  // pickle, GGUF, GPTQ, ... : recognised, and not read
  architecture_unknown,
  nothing_to_scan,
  not_finite,          // NaN or infinity where a number is needed
  value_invalid,       // an argument or a field out of range
  resource,            // memory, disk, or a library that failed
  device_unavailable,  // no GPU that can be used
  interrupted,
};

// Short stable name of a code: "header_too_large".
const char* name_of(Code code);

struct Error {
  Code code = Code::usage;
  std::string what;      // the broken rule and what to do, one sentence without line breaks
  std::string where;     // file, tensor, field or argument; may hold untrusted text
  std::string expected;  // empty when the rule has no two sides
  std::string found;

  // One line, safe for a terminal and a log: control characters and markup in `where`, `expected` and
  // `found` escaped, long names cut.
  [[nodiscard]] std::string message() const;
};

template <class T>
class [[nodiscard]] Result {
 public:
  using value_type = T;
  // Not explicit: `return value;` and `return Error{...};` are how a Result is made.
  // NOLINTBEGIN(google-explicit-constructor)
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}
  // NOLINTEND(google-explicit-constructor)

  [[nodiscard]] bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }

  [[nodiscard]] T& value() & {
    assert(ok());
    return *std::get_if<0>(&state_);
  }
  [[nodiscard]] const T& value() const& {
    assert(ok());
    return *std::get_if<0>(&state_);
  }
  [[nodiscard]] T&& value() && {
    assert(ok());
    return std::move(*std::get_if<0>(&state_));
  }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

  [[nodiscard]] const Error& error() const& {
    assert(!ok());
    return *std::get_if<1>(&state_);
  }
  [[nodiscard]] Error&& error() && {
    assert(!ok());
    return std::move(*std::get_if<1>(&state_));
  }

 private:
  std::variant<T, Error> state_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  // NOLINTNEXTLINE(google-explicit-constructor)
  Result(Error error) : error_(std::move(error)), ok_(false) {}
  [[nodiscard]] bool ok() const { return ok_; }
  explicit operator bool() const { return ok_; }
  [[nodiscard]] const Error& error() const& {
    assert(!ok_);
    return error_;
  }
  [[nodiscard]] Error&& error() && {
    assert(!ok_);
    return std::move(error_);
  }

 private:
  Error error_;
  bool ok_ = true;
};

using Status = Result<void>;

}  // namespace ullage

// Leaves the enclosing function with the error of `expression`, which is a Result.
#define ULLAGE_TRY(expression)                                    \
  do {                                                            \
    if (auto ullage_status_ = (expression); !ullage_status_.ok()) \
      return std::move(ullage_status_).error();                   \
  } while (false)

#define ULLAGE_CONCAT_INNER(a, b) a##b
#define ULLAGE_CONCAT(a, b) ULLAGE_CONCAT_INNER(a, b)
// ULLAGE_ASSIGN(auto x, expression): declares x from the value, or leaves with the error.
#define ULLAGE_ASSIGN(declaration, expression)                         \
  auto ULLAGE_CONCAT(ullage_result_, __LINE__) = (expression);         \
  if (!ULLAGE_CONCAT(ullage_result_, __LINE__).ok())                   \
    return std::move(ULLAGE_CONCAT(ullage_result_, __LINE__)).error(); \
  /* NOLINTNEXTLINE(bugprone-macro-parentheses) */                     \
  declaration = std::move(ULLAGE_CONCAT(ullage_result_, __LINE__)).value()
