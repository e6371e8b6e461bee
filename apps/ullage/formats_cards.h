// What `ullage formats` shows of a format: its card, its values, the rules of its scales; as tables and as JSON.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ullage/formats/blocks.h"
#include "ullage/formats/format.h"
#include "ullage/report/json.h"
#include "ullage/report/table.h"

namespace ullage::apps {

// Above so many codes a table of all values is no longer read, and landmarks stand in its place.
inline constexpr std::uint64_t kMostListed = 256;

report::Table card_table(const std::vector<formats::Format>& cards);
report::Table block_table(const std::vector<formats::BlockFormat>& cards);

// Every code, in rows of sixteen; code_count() <= kMostListed.
report::Table value_table(const formats::Format& format);
// The codes at the ends and around one.
report::Table landmark_table(const formats::Format& format);
// How each rule makes an MX scale, and which largest magnitudes it clips.
report::Table rule_table(const formats::Format& element);

// The largest magnitudes, in units of the block's scale, that a rule lets saturate under rounding to nearest:
// "past 464, below 512", or "none".
std::string clipped(formats::ScaleRule rule, const formats::Format& element);

// The whole document of `--json`.
std::string cards_json(const std::vector<formats::Format>& cards,
                       const std::vector<formats::BlockFormat>& blocks, bool values);

// A number as JSON, null with the reason where it is none.
void put_number(report::JsonWriter& json, const char* key, double value);

}  // namespace ullage::apps
