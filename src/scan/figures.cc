// Every figure of a head under its flat name.
#include "scan/fields.h"
#include "ullage/scan/result.h"

namespace ullage::scan {

std::vector<NamedFigure> figures_of(const HeadResult& head) {
  std::vector<NamedFigure> list;
  for_each_figure(
      head, [&](const char* prefix, const char* name, const Figure& figure, const char* about) {
        list.push_back({std::string(prefix) + name, &figure, about});
      });
  return list;
}

}  // namespace ullage::scan
