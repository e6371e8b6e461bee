// Numbers as text, the same in every locale: exact for machines, short for people.
#pragma once

#include <cstdint>
#include <string>

namespace ullage::report {

// The shortest text that reads back as the same number: "0.1", "1e-07", "448", "-0", "inf", "-inf",
// "nan".
std::string format_shortest(double value);
std::string format_shortest(float value);

// `digits` significant digits (1 to 17): 1.4 -> "1.40", 1234.5 -> "1234", 2.5e-7 ->
// "2.50e-7", 3.1e+12 -> "3.10e12". Plain notation from 1e-4 up to 1e6, else the compact exponent;
// "inf", "-inf", "nan".
std::string format_significant(double value, int digits = 3);

// The same, never below `value`: for what must stay a bound when somebody copies it. 221.2 -> "222".
std::string format_above(double value, int digits = 3);

// `decimals` places after the point: 1.25, 1 -> "1.2" (nearest, ties to even of the exact value).
std::string format_fixed(double value, int decimals);

// "1,024".
std::string format_count(std::uint64_t count);

// "3.00 GiB", "512 B": three significant digits, powers of 1024.
std::string format_bytes(std::uint64_t bytes);

// "850 ms", "12.3 s", "4 min 05 s", "2 h 10 min"; "?" when negative or not finite.
std::string format_duration(double seconds);

// The double nearest to `value` that has at most `digits` significant decimal digits: fewer bytes
// when printed.
double round_to_digits(double value, int digits);

}  // namespace ullage::report
