// What an E4M3 cast does to four numbers: the smallest use of the installed library.
#include <ullage/ullage.h>

#include <array>
#include <cstdio>

int main() {
  using namespace ullage::formats;
  const std::array<float, 4> values = {0.3F, 17.0F, 460.0F, 500.0F};
  std::array<std::uint8_t, 4> codes{};
  const auto format = find_format("e4m3");
  if (!format.ok()) return 1;
  const auto counts = cast(values, *format, codes, CastOptions{.overflow = Overflow::saturate});
  if (!counts.ok()) return 1;
  std::printf("ullage %s: %llu of %llu values saturate in %s\n", ullage::version(),
              static_cast<unsigned long long>(counts->saturated),
              static_cast<unsigned long long>(counts->elements), format->name);
  return 0;
}
