// A JSON writer: ordered, streaming, the same bytes everywhere. All of ullage's machine output goes
// through it.
//
//   JsonWriter json;
//   json.begin_object();
//   json.key("schema").integer(1);
//   // Where sigma is not finite: null, and the object ends in "why": {"sigma": ...}.
//   json.key("sigma").number(sigma, "weights are not finite");
//   json.key("offsets").begin_array(JsonLayout::line).integer(1).integer(2).end();
//   json.end();
//   std::string text = json.take();
//
// Why not nlohmann-json, which reads our input: its ordered document holds a whole report as a
// tree, it throws on names that are not UTF-8, and it writes non-finite numbers as null without a
// trace.
//
// Text may be anything: controls, U+2028, direction marks and the like are \u escapes (inert on a
// terminal), bytes that are not UTF-8 become U+FFFD. The order of calls is the caller's duty
// (asserted): a key before each value of an object, none in an array.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ullage::report {

// One member a line, or all that it holds on one line.
enum class JsonLayout : std::uint8_t { lines, line };

struct JsonOptions {
  int indent = 2;     // 0: no white space at all
  bool html = false;  // also escape < > & ' so that the text can stand in a <script> element
};

class JsonWriter {
 public:
  explicit JsonWriter(JsonOptions options = {}) : options_(options) {}

  JsonWriter& begin_object(JsonLayout layout = JsonLayout::lines);
  JsonWriter& begin_array(JsonLayout layout = JsonLayout::lines);
  // Of the innermost object or array; an object with reasons gets its "why" first.
  JsonWriter& end();

  JsonWriter& key(std::string_view name);
  JsonWriter& text(std::string_view value);
  JsonWriter& integer(std::int64_t value);
  JsonWriter& natural(std::uint64_t value);
  JsonWriter& boolean(bool value);
  // Shortest text that reads back as the same number (of its own type). NaN and infinities: null,
  // with the reason recorded unless it is empty.
  JsonWriter& number(double value, std::string_view reason = {});
  JsonWriter& number(float value, std::string_view reason = {});
  JsonWriter& null(std::string_view reason = {});

  // What was written since the last take(). A document is whole, and ends in a line feed, after its
  // last end().
  std::string take();

 private:
  struct Level {
    bool object = false;
    bool line = false;
    bool empty = true;
    std::string last_key;
    std::vector<std::pair<std::string, std::string>> why;  // in the order of the calls, one a key
  };
  JsonWriter& begin(char bracket, JsonLayout layout);
  void before_value();
  void new_line(std::size_t depth);
  void separate(Level& level);
  void put_text(std::string_view value);
  void put_number(const std::string& shortest, bool finite, std::string_view reason);
  void record(std::string_view reason);

  JsonOptions options_;
  std::vector<Level> levels_;
  bool after_key_ = false;
  std::string out_;
};

}  // namespace ullage::report
