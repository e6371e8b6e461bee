// Files that were asked for with --json, --csv, --html or --out.
#pragma once

#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>

#include "ullage/base/result.h"
#include "ullage/report/output.h"

namespace ullage::apps {

// Opened before the work whose outcome it gets, so that a bad path is said at once, and there only once all is written.
class OutputFile {
 public:
  // A report. An empty path: nothing was asked for. "-": standard output. Code::usage for what looks like an option, and
  // for a file of a checkpoint (its weights, index or config.json), which no report replaces.
  static Result<OutputFile> open(const std::string& path);
  // A safetensors file.
  static Result<OutputFile> open_weights(const std::string& path);

  [[nodiscard]] bool wanted() const { return file_.has_value(); }
  [[nodiscard]] bool is_stdout() const { return path_ == "-"; }
  [[nodiscard]] const std::string& path() const { return path_; }
  Status write(std::string_view text) { return file_->write(text); }  // only where wanted()
  Status commit() { return file_->commit(); }

 private:
  std::string path_;
  std::optional<report::AtomicFile> file_;
};

// Code::usage where two of them are one file.
Status check_distinct(std::initializer_list<const OutputFile*> files);
// Those that were wanted appear together, after all was written.
Status commit_all(std::initializer_list<OutputFile*> files);

}  // namespace ullage::apps
