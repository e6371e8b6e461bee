#include "ullage/cuda/grams.h"

#include <algorithm>
#include <cmath>

#include "cuda/gram_kernels.h"
#include "cuda/runtime.h"
#include "cuda/sides.h"

namespace ullage::cuda {
namespace {

using spectrum::Matrix;

// The top left of a padded matrix.
Matrix matrix_from(const double* padded, int stride, int rows, int columns) {
  Matrix out(rows, columns);
  for (int i = 0; i < rows; ++i)
    std::copy_n(padded + static_cast<std::ptrdiff_t>(i) * stride, columns, out.row(i).begin());
  return out;
}

// The host's view of the rows, for its error terms: shape and folding alone.
spectrum::HeadRows host_shape(const DeviceRows& rows) {
  spectrum::HeadRows out;
  out.element = rows.element;
  out.rows = rows.rows;
  out.width = rows.width;
  out.project_mean = rows.project_mean;
  return out;
}

}  // namespace

Result<std::vector<SideGram>> grams(std::span<const DeviceRows> sides, Stream stream) {
  ULLAGE_TRY(usable());
  ULLAGE_TRY(check_sides(sides));
  std::size_t bytes = 0;
  for (const DeviceRows& rows : sides) bytes += gram_bytes(rows);
  ULLAGE_ASSIGN(const DeviceMemory memory, DeviceMemory::allocate(bytes));
  ULLAGE_ASSIGN(const SideTable table, SideTable::make(sides, memory.data<double>(), stream));
  ULLAGE_TRY(check(launch_means(table.on_device(), table.shape, stream), "means of rows"));
  ULLAGE_TRY(check(launch_fast_grams(table.on_device(), table.shape, stream), "fast Grams"));
  std::vector<double> values(bytes / sizeof(double));
  ULLAGE_TRY(download(memory.data(), bytes, values.data(), stream));
  std::vector<float> means(table.shape.any_mean ? sides.size() * kMostRows : 0);
  ULLAGE_TRY(download(table.means.data(), means.size() * sizeof(float), means.data(), stream));

  std::vector<SideGram> out(sides.size());
  std::size_t at = 0;
  for (std::size_t s = 0; s < sides.size(); ++s) {
    const DeviceRows& rows = sides[s];
    SideGram& side = out[s];
    side.gram.values = matrix_from(values.data() + at, extent_of(rows.rows), rows.rows, rows.rows);
    at += gram_bytes(rows) / sizeof(double);
    if (rows.project_mean) {
      const auto first = means.begin() + static_cast<std::ptrdiff_t>(s) * kMostRows;
      side.gram.means.assign(first, first + rows.rows);
    }
    const double trace = spectrum::trace(side.gram.values);
    side.fits = rows.element != spectrum::Element::f64 && spectrum::fast_trace(trace);
    if (side.fits)
      spectrum::set_bounds(host_shape(rows), fast_errors(rows, std::sqrt(trace)), side.gram);
  }
  return out;
}

Result<std::vector<Matrix>> cross_grams(std::span<const DeviceRows> sides,
                                        std::span<const HeadPair> pairs, Stream stream) {
  ULLAGE_TRY(usable());
  ULLAGE_TRY(check_sides(sides));
  ULLAGE_TRY(check_pairs(sides, pairs));
  for (const DeviceRows& rows : sides)
    if (rows.element == spectrum::Element::f64)
      return Error{Code::value_invalid, "FP64 rows are not multiplied in BF16", "sides", "", ""};
  ULLAGE_ASSIGN(const SideTable table, SideTable::make(sides, nullptr, stream));
  ULLAGE_TRY(check(launch_means(table.on_device(), table.shape, stream), "means of rows"));
  std::vector<CrossTask> tasks;
  std::vector<std::size_t> places;
  std::size_t elements = 0;
  for (const HeadPair& pair : pairs) {
    const Side& query = table.host[static_cast<std::size_t>(pair.query)];
    const Side& key = table.host[static_cast<std::size_t>(pair.key)];
    if (query.rows.width != key.rows.width)
      return Error{Code::value_invalid, "the sides of a cross product differ in width", "pairs",
                   std::to_string(query.rows.width), std::to_string(key.rows.width)};
    tasks.push_back({query.rows, key.rows, query.means, key.means, nullptr});
    places.push_back(elements);
    elements += static_cast<std::size_t>(extent_of(query.rows.rows)) *
                static_cast<std::size_t>(extent_of(key.rows.rows));
  }
  ULLAGE_ASSIGN(const DeviceMemory memory, DeviceMemory::allocate(elements * sizeof(double)));
  for (std::size_t p = 0; p < tasks.size(); ++p) tasks[p].out = memory.data<double>() + places[p];
  ULLAGE_ASSIGN(const DeviceMemory device_tasks, uploaded<CrossTask>(tasks, stream));
  ULLAGE_TRY(check(launch_cross_grams(device_tasks.data<CrossTask>(),
                                      static_cast<int>(tasks.size()), table.shape.rows, stream),
                   "cross Grams"));
  std::vector<double> values(elements);
  ULLAGE_TRY(download(memory.data(), elements * sizeof(double), values.data(), stream));
  std::vector<Matrix> out;
  for (std::size_t p = 0; p < tasks.size(); ++p)
    out.push_back(matrix_from(values.data() + places[p], extent_of(tasks[p].key.rows),
                              tasks[p].query.rows, tasks[p].key.rows));
  return out;
}

}  // namespace ullage::cuda
