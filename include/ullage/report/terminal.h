// What the terminal behind a file descriptor can show, and text measured and coloured for it.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "ullage/report/tone.h"

namespace ullage::report {

struct Terminal {
  bool interactive = false;  // a person is looking: progress bars may move
  bool colour = false;
  bool utf8 = false;      // else everything shown is ASCII
  std::size_t width = 0;  // columns; 0: no limit (a file or a pipe)
};

// Asks isatty, the window size, NO_COLOR (set and not empty: no colour), TERM=dumb, and LC_ALL,
// LC_CTYPE, LANG for UTF-8. COLUMNS, where set, replaces the window's width on a terminal.
Terminal terminal_of(int descriptor);

// Columns that UTF-8 text takes: 0 for combining marks, 2 for wide East Asian and emoji, 1 for the
// rest and for each broken byte. Exact for the scripts that model names use; a terminal may differ
// on the newest emoji.
std::size_t display_width(std::string_view text);

// `text` cut to at most `width` columns, ending in "..." (one ellipsis character where utf8) when
// something went.
std::string cut_to_width(std::string_view text, std::size_t width, bool utf8);

// Untrusted text made fit for this terminal: base's escape_name (so & < > and " become \u00NN), and without UTF-8 all that is
// not ASCII as \uNNNN.
std::string terminal_text(std::string_view text, const Terminal& terminal, std::size_t limit = 160);

// `text` between the escape sequences of `tone`; `text` itself where the terminal has no colour or
// the tone is plain.
std::string paint(std::string_view text, Tone tone, const Terminal& terminal);

}  // namespace ullage::report
