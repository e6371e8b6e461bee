// What a study found, as report's plain tables and pages.
#pragma once

#include <string>
#include <vector>

#include "ullage/attention/study.h"
#include "ullage/report/page.h"
#include "ullage/report/table.h"

namespace ullage::apps {

// One recipe with one shift.
struct StudiedCase {
  std::string recipe;
  std::string shift;
  attention::StudyCase found;
  std::vector<double> accumulated = {};  // sum of delta's error after each simulated step
  std::vector<attention::AdditionStep> addition = {};  // of the chosen element
};

struct StudyReport {
  std::string source;  // "made repeated" or the file
  attention::Shape shape;
  double seconds = 0;
  int threads = 0;
  std::string element;  // "HEAD.QUERY.FEATURE"
  std::vector<StudiedCase> cases;
};

report::Table study_table(const StudyReport& study);
std::string study_json(const StudyReport& study);  // docs/schema/attention-study.json
report::Page study_page(const StudyReport& study);

}  // namespace ullage::apps
