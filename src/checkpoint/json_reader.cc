// The token stream of json.h.
#include <algorithm>
#include <bit>
#include <charconv>
#include <cstring>
#include <limits>

#include "checkpoint/json.h"
#include "ullage/base/text.h"

namespace ullage::checkpoint {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

static_assert(std::endian::native == std::endian::little);

// How many of the next 8 bytes are plain ASCII: no quote, no backslash, no control.
int plain_bytes(const char* at) {
  constexpr std::uint64_t kOnes = 0x0101010101010101, kHigh = 0x8080808080808080;
  std::uint64_t word = 0;
  std::memcpy(&word, at, 8);
  // High bits mark the hits; borrows only spread upwards, so the lowest mark is exact.
  const auto below = [](std::uint64_t v, std::uint64_t n) { return (v - kOnes * n) & ~v & kHigh; };
  const std::uint64_t hits = (word & kHigh) | below(word ^ (kOnes * '"'), 1) |
                             below(word ^ (kOnes * '\\'), 1) | below(word, 0x20);
  return std::countr_zero(hits) / 8;
}

char* put_utf8(char* write, std::uint32_t code) {
  const auto put = [&](std::uint32_t byte) { *write++ = static_cast<char>(byte); };
  if (code < 0x80) {
    put(code);
  } else if (code < 0x800) {
    put(0xC0 | code >> 6);
    put(0x80 | (code & 0x3F));
  } else if (code < 0x10000) {
    put(0xE0 | code >> 12);
    put(0x80 | (code >> 6 & 0x3F));
    put(0x80 | (code & 0x3F));
  } else {
    put(0xF0 | code >> 18);
    put(0x80 | (code >> 12 & 0x3F));
    put(0x80 | (code >> 6 & 0x3F));
    put(0x80 | (code & 0x3F));
  }
  return write;
}

// Whether a number that from_chars found out of range is too large (else it is too small). `text` is
// valid JSON: decides by the decimal exponent of its first digit that is not zero.
bool overflows(std::string_view text) {
  std::int64_t place = 0, exponent = 0;  // place: digits from the first one not zero to the point
  bool seen = false, fraction = false;
  std::size_t i = text[0] == '-' ? 1 : 0;
  for (; i < text.size() && text[i] != 'e' && text[i] != 'E'; ++i) {
    if (text[i] == '.') {
      fraction = true;
      continue;
    }
    seen = seen || text[i] != '0';
    if (!fraction && seen) ++place;
    if (fraction && !seen) --place;
  }
  if (i < text.size()) {
    ++i;
    const bool negative = text[i] == '-';
    if (!is_digit(text[i])) ++i;
    constexpr std::int64_t kEnough = std::int64_t{1}
                                     << 40;  // above any place: texts are below 4 GiB
    for (; i < text.size() && exponent < kEnough; ++i) exponent = exponent * 10 + (text[i] - '0');
    if (negative) exponent = -exponent;
  }
  return place + exponent > 0;
}

}  // namespace

Token JsonReader::fail_at(const char* where, const char* problem) {
  at_ = begin_ + (where - begin_);
  return fail(problem);
}

Token JsonReader::fail(const char* problem) {
  problem_ = problem;
  return Token::error;
}

void JsonReader::skip_blanks() {
  while (at_ < end_ && (*at_ == ' ' || *at_ == '\n' || *at_ == '\t' || *at_ == '\r')) ++at_;
}

Token JsonReader::next() {
  if (problem_ != nullptr) return Token::error;
  skip_blanks();
  if (expect_ == Expect::comma_or_end) {
    if (at_ == end_) return fail("the text ends inside an object or array");
    const char c = *at_;
    if (c == (in_object() ? '}' : ']')) return close();
    if (c != ',') return fail("a comma or the closing bracket was expected");
    ++at_;
    skip_blanks();
    expect_ = in_object() ? Expect::key : Expect::value;
  }
  if (at_ == end_) {
    if (expect_ == Expect::nothing) return Token::end;
    return fail(begin_ == end_ ? "it is empty" : "the text ends too early");
  }
  const char c = *at_;
  switch (expect_) {
    case Expect::nothing:
      return fail("there is text behind the value");
    case Expect::key_or_end:
      if (c == '}') return close();
      [[fallthrough]];
    case Expect::key:
      if (c != '"') return fail("a key in double quotes was expected");
      if (!read_string()) return Token::error;
      skip_blanks();
      if (at_ == end_ || *at_ != ':') return fail("a colon was expected");
      ++at_;
      expect_ = Expect::value;
      return Token::key;
    case Expect::value_or_end:
      if (c == ']') return close();
      [[fallthrough]];
    default:
      return value(c);
  }
}

Token JsonReader::open(bool object) {
  if (depth_ == kMaxDepth) return fail("it is nested more than 64 levels deep");
  ++at_;
  const std::uint64_t bit = std::uint64_t{1} << depth_;
  objects_ = object ? objects_ | bit : objects_ & ~bit;
  ++depth_;
  expect_ = object ? Expect::key_or_end : Expect::value_or_end;
  return object ? Token::object_begin : Token::array_begin;
}

Token JsonReader::close() {
  const bool object = in_object();
  ++at_;
  --depth_;
  after_value();
  return object ? Token::object_end : Token::array_end;
}

Token JsonReader::value(char first) {
  switch (first) {
    case '{':
      return open(true);
    case '[':
      return open(false);
    case '"':
      if (!read_string()) return Token::error;
      after_value();
      return Token::string;
    case 't':
      return literal("true", Token::boolean_true);
    case 'f':
      return literal("false", Token::boolean_false);
    case 'n':
      return literal("null", Token::null);
    case 'N':
      real_ = std::numeric_limits<double>::quiet_NaN();
      if (non_finite_ == NonFinite::accept) return literal("NaN", Token::real);
      break;
    case 'I':
      real_ = std::numeric_limits<double>::infinity();
      if (non_finite_ == NonFinite::accept) return literal("Infinity", Token::real);
      break;
    case '\xEF':
      return fail("a value was expected (is it a byte order mark?)");
    default:
      if (first == '-' || is_digit(first)) return number();
  }
  return fail("a value was expected");
}

Token JsonReader::literal(std::string_view word, Token token) {
  if (std::string_view(at_, static_cast<std::size_t>(end_ - at_)).substr(0, word.size()) != word)
    return fail("a value was expected");
  at_ += word.size();
  after_value();
  return token;
}

Token JsonReader::number() {
  const char* const start = at_;
  char* at = at_;
  const bool negative = *at == '-';
  if (negative) ++at;
  if (negative && at < end_ && *at == 'I' && non_finite_ == NonFinite::accept) {
    real_ = -std::numeric_limits<double>::infinity();
    return literal("-Infinity", Token::real);
  }
  if (at == end_ || !is_digit(*at)) return fail("a digit was expected");
  if (*at == '0' && at + 1 < end_ && is_digit(at[1])) return fail("a number starts with 0");
  std::uint64_t magnitude = 0;
  bool fits = true;
  for (; at < end_ && is_digit(*at); ++at) {
    fits = fits && !__builtin_mul_overflow(magnitude, std::uint64_t{10}, &magnitude) &&
           !__builtin_add_overflow(magnitude, static_cast<std::uint64_t>(*at - '0'), &magnitude);
  }
  bool whole = true;
  if (at < end_ && *at == '.') {
    whole = false;
    ++at;
    if (at == end_ || !is_digit(*at)) return fail("a digit was expected behind the point");
    while (at < end_ && is_digit(*at)) ++at;
  }
  if (at < end_ && (*at == 'e' || *at == 'E')) {
    whole = false;
    ++at;
    if (at < end_ && (*at == '+' || *at == '-')) ++at;
    if (at == end_ || !is_digit(*at)) return fail("a digit was expected in the exponent");
    while (at < end_ && is_digit(*at)) ++at;
  }
  at_ = at;
  after_value();
  integer_ = magnitude;
  if (whole && fits && !negative) return Token::unsigned_integer;
  if (whole && fits && magnitude <= std::uint64_t{1} << 63) return Token::negative_integer;
  real_ = 0;
  if (std::from_chars(start, at, real_).ec == std::errc::result_out_of_range) {
    const std::string_view text(start, static_cast<std::size_t>(at - start));
    real_ = overflows(text) ? std::numeric_limits<double>::infinity() : 0.0;
    if (negative) real_ = -real_;
  }
  return Token::real;
}

bool JsonReader::read_string() {
  char* const start = ++at_;
  char* write = nullptr;  // null until the first escape: nothing to move before it
  for (;;) {
    if (write == nullptr) {
      int plain = 8;
      while (plain == 8 && end_ - at_ >= 8) at_ += plain = plain_bytes(at_);
    }
    if (at_ == end_) return fail("the text ends inside a string"), false;
    const auto c = static_cast<unsigned char>(*at_);
    if (c == '"') break;
    if (c < 0x20) return fail("a string holds a raw control character"), false;
    if (c == '\\') {
      if (write == nullptr) write = at_;
      if (!read_escape(write)) return false;
      continue;
    }
    std::size_t length = 1;
    if (c >= 0x80) {
      const std::size_t left = std::min<std::size_t>(4, static_cast<std::size_t>(end_ - at_));
      const DecodedUtf8 decoded = decode_utf8({at_, left}, 0);
      if (!decoded.valid) return fail("a string is not UTF-8"), false;
      length = decoded.length;
    }
    if (write != nullptr) {
      std::memmove(write, at_, length);
      write += length;
    }
    at_ += length;
  }
  const char* const stop = write != nullptr ? write : at_;
  string_ = std::string_view(start, static_cast<std::size_t>(stop - start));
  ++at_;
  return true;
}

int JsonReader::read_hex4() {
  if (end_ - at_ < 4) return -1;
  int code = 0;
  for (int i = 0; i < 4; ++i) {
    const char c = *at_++;
    const int digit = is_digit(c)            ? c - '0'
                      : c >= 'a' && c <= 'f' ? c - 'a' + 10
                      : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                             : -1;
    if (digit < 0) return -1;
    code = code * 16 + digit;
  }
  return code;
}

// An escape is at least as long as what it stands for, so `write` never passes `at_`.
bool JsonReader::read_escape(char*& write) {
  char* const backslash = at_++;
  if (at_ == end_) return fail("the text ends inside a string"), false;
  constexpr std::string_view kFrom = "\"\\/bfnrt", kTo = "\"\\/\b\f\n\r\t";
  const char c = *at_++;
  if (const std::size_t plain = kFrom.find(c); plain != std::string_view::npos) {
    *write++ = kTo[plain];
    return true;
  }
  if (c != 'u') return fail_at(backslash, "a string holds an unknown escape"), false;
  int code = read_hex4();
  if (code >= 0xD800 && code < 0xDC00 && end_ - at_ >= 2 && at_[0] == '\\' && at_[1] == 'u') {
    at_ += 2;
    const int low = read_hex4();
    if (low < 0xDC00 || low > 0xDFFF)
      return fail_at(backslash, "a string holds half a surrogate pair"), false;
    code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
  }
  if (code < 0) return fail_at(backslash, "four hexadecimal digits were expected"), false;
  if (code >= 0xD800 && code < 0xE000)
    return fail_at(backslash, "a string holds half a surrogate pair"), false;
  write = put_utf8(write, static_cast<std::uint32_t>(code));
  return true;
}

Error json_error(const JsonReader& reader, Code code, const std::string& where) {
  return {.code = code,
          .what = "not valid JSON at byte " + std::to_string(reader.position()) + ": " +
                  reader.problem(),
          .where = where,
          .expected = {},
          .found = {}};
}

}  // namespace ullage::checkpoint
