// The part of a page that its script reads: sections as compact JSON.
#pragma once

#include <string>
#include <string_view>

#include "ullage/report/page.h"

namespace ullage::report {

// Untrusted text as it may be shown: one line, no direction marks; long paragraphs stay whole.
std::string page_text(std::string_view text);

const Heading& heading_of(const Section& section);

// value_invalid when the sizes of a section do not fit one another, or a record is none of the
// page's.
Status check_page(const Page& page);

// {"records": [[key, title], ...], "selected": n, "sections": [{"kind": ..., "at": index, ...},
// ...]}, safe in a <script> element. Paragraphs have no data. The page has passed check_page.
std::string page_data(const Page& page);

}  // namespace ullage::report
