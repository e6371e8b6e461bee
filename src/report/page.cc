#include "ullage/report/page.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>

#include "report/page_assets.h"
#include "report/page_data.h"
#include "ullage/base/text.h"

namespace ullage::report {
namespace {

std::string html(std::string_view text) { return escape_html(text, 4000); }

// The base64 of a digest given in hexadecimal, as content security policies want it (RFC 4648,
// section 4).
std::string base64_of_hex(std::string_view hex) {
  constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const auto nibble = [](char c) {
    return static_cast<unsigned>(c <= '9' ? c - '0' : c - 'a' + 10);
  };
  std::string out;
  // Three nibbles are two base64 digits.
  for (std::size_t at = 0; at < hex.size(); at += 3) {
    unsigned bits = 0;
    for (std::size_t i = at; i < at + 3; ++i)
      bits = bits << 4 | (i < hex.size() ? nibble(hex[i]) : 0);
    out += kDigits[bits >> 6];
    if (at + 1 < hex.size()) out += kDigits[bits & 63];
  }
  while (out.size() % 4 != 0) out += '=';
  return out;
}

struct ToneLook {
  const char* name;  // also the class and the icon; nullptr: no icon
  const char* word;
};

ToneLook look_of(Tone tone) {
  switch (tone) {
    case Tone::good:
      return {"good", "ok"};
    case Tone::warn:
      return {"warn", "warning"};
    case Tone::bad:
      return {"bad", "problem"};
    default:
      return {nullptr, ""};
  }
}

std::string icon(const char* name) {
  return std::string("<svg class=\"icon ") + name +
         "\" viewBox=\"0 0 16 16\" aria-hidden=\"true\"><use href=\"#icon-" + name + "\"/></svg>";
}

std::string cards(const std::vector<Card>& list) {
  if (list.empty()) return {};
  std::string out = "<div class=\"cards\">\n";
  for (const Card& card : list) {
    out += "<div class=\"card\"><div class=\"label\">" + html(card.label) +
           "</div><div class=\"value\">" + html(card.value) + "</div>";
    if (!card.about.empty()) out += "<div class=\"note\">" + html(card.about) + "</div>";
    const ToneLook look = look_of(card.tone);
    if (look.name != nullptr) {
      out += std::string("<div class=\"pill ") + look.name + "\">" + icon(look.name) + look.word +
             "</div>";
    }
    out += "</div>\n";
  }
  return out + "</div>\n";
}

std::string notes(const std::vector<Note>& list) {
  if (list.empty()) return {};
  std::string out = "<ul class=\"notes\">\n";
  for (const Note& note : list) {
    const ToneLook look = look_of(note.tone);
    out += "<li>";
    if (look.name == nullptr) out += icon("plain");
    if (look.name != nullptr)
      out += icon(look.name) + "<span class=\"hidden\">" + look.word + ": </span>";
    out += "<span class=\"text\">" + html(note.text) + "</span></li>\n";
  }
  return out + "</ul>\n";
}

// A section's frame; the script fills the figure, paragraphs are there without it.
std::string section_html(const Section& section, std::size_t index) {
  const Heading& heading = heading_of(section);
  const bool table = std::holds_alternative<DataTable>(section.content);
  std::string out = std::string("<section class=\"section") + (table ? " long" : "") + "\">";
  if (!heading.title.empty()) out += "<h2>" + html(heading.title) + "</h2>";
  if (!heading.about.empty()) out += "<p class=\"about\">" + html(heading.about) + "</p>";
  if (const auto* paragraphs = std::get_if<Paragraphs>(&section.content)) {
    for (const std::string& text : paragraphs->text) out += "<p>" + html(text) + "</p>";
  } else {
    out += "<div class=\"figure\" id=\"figure-" + std::to_string(index) +
           "\"><noscript>This part needs JavaScript.</noscript></div>";
  }
  return out + "</section>\n";
}

std::string sections(const std::vector<Section>& list) {
  std::string out;
  for (std::size_t i = 0; i < list.size();) {
    if (list[i].place == Place::full) {
      out += section_html(list[i], i);
      ++i;
      continue;
    }
    std::array<std::string, 2> columns;
    for (; i < list.size() && list[i].place != Place::full; ++i) {
      columns[list[i].place == Place::left ? 0 : 1] += section_html(list[i], i);
    }
    out += "<div class=\"columns\"><div>\n" + columns[0] + "</div><div>\n" + columns[1] +
           "</div></div>\n";
  }
  return out;
}

}  // namespace

Result<std::string> to_html(const Page& page) {
  ULLAGE_TRY(check_page(page));
  const std::string policy = "default-src 'none'; script-src 'sha256-" +
                             base64_of_hex(kPageScriptSha256) + "'; style-src 'sha256-" +
                             base64_of_hex(kPageStyleSha256) +
                             "'; img-src data:; base-uri 'none'; form-action 'none'";
  std::string out = "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n";
  out += "<meta http-equiv=\"Content-Security-Policy\" content=\"" + policy + "\">\n";
  out += "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n";
  out +=
      "<meta name=\"color-scheme\" content=\"light dark\">\n<meta name=\"referrer\" "
      "content=\"no-referrer\">\n";
  out += "<title>" + html(page.title) + "</title>\n<link rel=\"icon\" href=\"data:,\">\n<style>";
  out.append(kPageStyle).append("</style>\n</head>\n<body>\n").append(kPageIcons);
  out += "<header class=\"top\"><div><h1>" + html(page.title) + "</h1>";
  if (!page.subtitle.empty()) out += "<p class=\"subtitle\">" + html(page.subtitle) + "</p>";
  out += "</div><button type=\"button\" id=\"theme\" hidden>Dark theme</button></header>\n<main>\n";
  out += cards(page.cards) + notes(page.notes) + sections(page.sections);
  out += "</main>\n<footer class=\"foot\">" + html(page.footer) + "</footer>\n";
  out += "<script type=\"application/json\" id=\"data\">" + page_data(page) + "</script>\n<script>";
  return out.append(kPageScript).append("</script>\n</body>\n</html>\n");
}

std::vector<std::size_t> thin_indices(std::size_t count, std::size_t most) {
  std::vector<std::size_t> kept;
  if (count == 0 || most == 0) return kept;
  if (count <= most) {
    for (std::size_t i = 0; i < count; ++i) kept.push_back(i);
    return kept;
  }
  if (most == 1) return {0};
  // Geometric steps in 1-based index; where a step is shorter than one the next index is taken, and
  // the rest of the road is divided anew, so that exactly `most` come out.
  std::size_t at = 1;
  kept.push_back(0);
  while (kept.size() < most) {
    const double steps = static_cast<double>(most - kept.size());
    const double goal = static_cast<double>(at) *
                        std::pow(static_cast<double>(count) / static_cast<double>(at), 1 / steps);
    at = std::clamp(static_cast<std::size_t>(std::llround(goal)), at + 1,
                    count - (most - kept.size()) + 1);
    kept.push_back(at - 1);
  }
  return kept;
}

}  // namespace ullage::report
