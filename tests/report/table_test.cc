// Tables for terminals and as Markdown: widths, colours, and text that cannot act.
#include "ullage/report/table.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <cstdlib>
#include <optional>
#include <sstream>

namespace ullage::report {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr Terminal kAscii{};
constexpr Terminal kUtf8{.utf8 = true};
constexpr Terminal kColour{.interactive = true, .colour = true, .utf8 = true, .width = 80};

Table small() {
  Table table;
  table.columns = {{.title = "block", .align = Align::right},
                   {.title = "name"},
                   {.title = "bits", .align = Align::right},
                   {.title = "verdict"}};
  table.rows = {{{"0"}, {"model.blocks.0"}, {"1.40", Tone::good}, {"fits", Tone::good}},
                {{"10"}, {"model.blocks.10"}, {"-0.25", Tone::bad}, {"", Tone::dim}},
                {{"11"}, {"short row"}}};
  table.rules = {2};
  return table;
}

TEST(Table, AlignsColumnsAndLeavesNoBlanksAtTheEnd) {
  EXPECT_EQ(to_text(small(), kAscii),
            "block  name              bits  verdict\n"
            "-----  ---------------  -----  -------\n"
            "    0  model.blocks.0    1.40  fits\n"
            "   10  model.blocks.10  -0.25\n"
            "-----  ---------------  -----  -------\n"
            "   11  short row\n");
}

TEST(Table, DrawsRulesInUtf8) { EXPECT_THAT(to_text(small(), kUtf8), HasSubstr("\u2500\u2500")); }

TEST(Table, ColoursCellsOnlyWhereTheTerminalHasColour) {
  EXPECT_THAT(to_text(small(), kColour), HasSubstr("\x1b[32mfits\x1b[0m"));
  EXPECT_THAT(to_text(small(), kUtf8), Not(HasSubstr("\x1b")));
}

// Colour must not move columns: without its escape sequences the text is the plain one.
TEST(Table, ColourDoesNotChangeTheLayout) {
  std::string coloured = to_text(small(), kColour);
  for (std::size_t at = 0; (at = coloured.find("\x1b[")) != std::string::npos;) {
    coloured.erase(at, coloured.find('m', at) - at + 1);
  }
  EXPECT_EQ(coloured, to_text(small(), kUtf8));
}

TEST(Table, UntrustedTextCannotSteerTheTerminal) {
  Table table;
  table.columns = {{.title = "na\x1b[2Jme"}, {.title = "next"}};
  table.rows = {{{"a\nb\x1b]52;c;x\a"}, {"\u202e \u2028"}}, {{"<b x='y'>"}}};
  const std::string text = to_text(table, kUtf8);
  EXPECT_THAT(text, HasSubstr("na\\u001b[2Jme"));
  EXPECT_THAT(text, HasSubstr("a\\u000ab\\u001b]52;c;x\\u0007"));
  EXPECT_THAT(text, HasSubstr("\\u202e \\u2028"));
  EXPECT_THAT(text, HasSubstr("\\u003cb x='y'\\u003e"));
  EXPECT_THAT(text, Not(HasSubstr("\x1b")));
}

TEST(Table, WithoutUtf8AllIsAscii) {
  Table table;
  table.columns = {{.title = "caf\u00e9", .widest = 12}};
  table.rows = {{{"\u5c42 \U0001F600"}}, {{"a long text that will be cut"}}};
  const std::string text = to_text(table, kAscii);
  for (const char c : text) EXPECT_LT(static_cast<unsigned char>(c), 0x80);
  EXPECT_THAT(text, HasSubstr("caf\\u00e9"));
  EXPECT_THAT(text, HasSubstr("a long te..."));
}

TEST(Table, CutsLongCellsAndShrinksColumnsToTheTerminal) {
  Table table;
  table.columns = {{.title = "name", .widest = 200, .shrinks_to = 10},
                   {.title = "value", .align = Align::right}};
  table.rows = {{{std::string(100, 'x')}, {"1"}}};
  for (const std::size_t width : {20, 40, 79}) {
    std::istringstream lines(to_text(table, {.utf8 = true, .width = width}));
    for (std::string line; std::getline(lines, line);) EXPECT_EQ(display_width(line), width);
  }
  // Narrower than what may shrink: the numbers stay whole.
  EXPECT_THAT(to_text(table, {.width = 5}), HasSubstr("xxxxxxx...      1\n"));
}

TEST(Table, NoColumnsNoText) { EXPECT_EQ(to_text({}, kUtf8), ""); }

TEST(Terminal, DisplayWidth) {
  EXPECT_EQ(display_width(""), 0u);
  EXPECT_EQ(display_width("abc"), 3u);
  EXPECT_EQ(display_width("caf\u00e9"), 4u);
  EXPECT_EQ(display_width("cafe\u0301"), 4u);
  EXPECT_EQ(display_width("\u5c42\u540d"), 4u);
  EXPECT_EQ(display_width("\U0001F600"), 2u);
  EXPECT_EQ(display_width("\uff21"), 2u);
  EXPECT_EQ(display_width("\xff\xfe"), 2u);
  EXPECT_EQ(display_width("\u2500\u2026"), 2u);
}

TEST(Terminal, CutKeepsWholeCharacters) {
  EXPECT_EQ(cut_to_width("abcdef", 6, true), "abcdef");
  EXPECT_EQ(cut_to_width("abcdef", 4, true), "abc\u2026");
  EXPECT_EQ(cut_to_width("abcdef", 4, false), "a...");
  EXPECT_EQ(cut_to_width("abcdef", 2, false), "..");
  EXPECT_EQ(cut_to_width("abcdef", 0, true), "");
  EXPECT_EQ(cut_to_width("\u5c42\u540d\u5c42", 4, true), "\u5c42\u2026");
}

RC_GTEST_PROP(Terminal, CutIsNeverWiderThanAsked, (const std::string& text)) {
  const auto width = *rc::gen::inRange<std::size_t>(0, 40);
  const bool utf8 = *rc::gen::arbitrary<bool>();
  RC_ASSERT(display_width(cut_to_width(text, width, utf8)) <= width);
}

class ScopedEnvironment {
 public:
  ScopedEnvironment(const char* name, const char* value) : name_(name) {
    if (const char* before = std::getenv(name)) before_ = before;
    if (value == nullptr) {
      ::unsetenv(name);
    } else {
      ::setenv(name, value, 1);
    }
  }
  ~ScopedEnvironment() {
    if (before_) {
      ::setenv(name_, before_->c_str(), 1);
    } else {
      ::unsetenv(name_);
    }
  }
  ScopedEnvironment(const ScopedEnvironment&) = delete;
  ScopedEnvironment& operator=(const ScopedEnvironment&) = delete;

 private:
  const char* name_;
  std::optional<std::string> before_;
};

TEST(Terminal, APipeIsNeitherColouredNorLimited) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const Terminal terminal = terminal_of(ends[1]);
  EXPECT_FALSE(terminal.interactive);
  EXPECT_FALSE(terminal.colour);
  EXPECT_EQ(terminal.width, 0u);
  ::close(ends[0]);
  ::close(ends[1]);
}

TEST(Terminal, TheFirstLocaleVariableThatIsSetDecides) {
  const ScopedEnvironment all("LC_ALL", nullptr);
  const ScopedEnvironment type("LC_CTYPE", nullptr);
  const ScopedEnvironment lang("LANG", "en_GB.UTF-8");
  EXPECT_TRUE(terminal_of(-1).utf8);
  const ScopedEnvironment type_c("LC_CTYPE", "C");
  EXPECT_FALSE(terminal_of(-1).utf8);
  const ScopedEnvironment all_utf8("LC_ALL", "C.utf8");
  EXPECT_TRUE(terminal_of(-1).utf8);
}

TEST(Terminal, ATerminalFollowsNoColorTermAndColumns) {
  const int terminal = ::posix_openpt(O_RDWR | O_NOCTTY);
  if (terminal < 0 || ::grantpt(terminal) != 0 || ::unlockpt(terminal) != 0)
    GTEST_SKIP() << "no pseudo terminal here";
  const ScopedEnvironment no_color("NO_COLOR", nullptr);
  const ScopedEnvironment term("TERM", "xterm");
  const ScopedEnvironment columns("COLUMNS", "66");
  EXPECT_TRUE(terminal_of(terminal).interactive);
  EXPECT_TRUE(terminal_of(terminal).colour);
  EXPECT_EQ(terminal_of(terminal).width, 66u);
  const ScopedEnvironment empty("NO_COLOR", "");
  EXPECT_TRUE(terminal_of(terminal).colour);
  const ScopedEnvironment set("NO_COLOR", "1");
  EXPECT_FALSE(terminal_of(terminal).colour);
  EXPECT_TRUE(terminal_of(terminal).interactive);
  const ScopedEnvironment dumb("TERM", "dumb");
  EXPECT_FALSE(terminal_of(terminal).interactive);
  ::close(terminal);
}

}  // namespace
}  // namespace ullage::report
