// The host's side of power iteration: pairs checked, memory allocated, one launch planned for each element type.
#include <algorithm>
#include <utility>

#include "cuda/power_kernels.h"
#include "cuda/runtime.h"
#include "cuda/sides.h"
#include "ullage/cuda/power_iteration.h"
#include "ullage/spectrum/power_iteration.h"

namespace ullage::cuda {

struct PowerIteration::Plan {
  struct Part {
    PowerLaunch launch;
    DeviceMemory tasks;
  };
  std::vector<Part> parts;  // one an element type
  DeviceMemory directions;  // v of each pair, then as much scratch
  DeviceMemory results;
  std::size_t pairs = 0;
};

PowerIteration::PowerIteration(std::unique_ptr<Plan> plan) : plan_(std::move(plan)) {}
PowerIteration::~PowerIteration() = default;
PowerIteration::PowerIteration(PowerIteration&&) noexcept = default;
PowerIteration& PowerIteration::operator=(PowerIteration&&) noexcept = default;

Result<PowerIteration> PowerIteration::make(std::span<const DeviceRows> sides,
                                            std::span<const HeadPair> pairs) {
  ULLAGE_TRY(usable());
  ULLAGE_TRY(check_sides(sides));
  ULLAGE_TRY(check_pairs(sides, pairs));
  auto plan = std::make_unique<Plan>();
  plan->pairs = pairs.size();
  std::vector<float> directions;
  for (const HeadPair& pair : pairs) {
    const DeviceRows& query = sides[static_cast<std::size_t>(pair.query)];
    const DeviceRows& key = sides[static_cast<std::size_t>(pair.key)];
    if (query.element != key.element || query.element == spectrum::Element::f64)
      return Error{Code::value_invalid,
                   "power iteration on the GPU takes pairs of BF16 or of FP32 rows", "pairs", "",
                   ""};
    const std::vector<float> start = spectrum::power_start(key.width);
    directions.insert(directions.end(), start.begin(), start.end());
  }
  const std::size_t bytes = directions.size() * sizeof(float);
  ULLAGE_ASSIGN(plan->directions, DeviceMemory::allocate(2 * bytes));
  ULLAGE_TRY(upload(directions.data(), bytes, plan->directions.data(), nullptr));
  ULLAGE_ASSIGN(plan->results, DeviceMemory::allocate(pairs.size() * sizeof(double)));

  for (const spectrum::Element element : {spectrum::Element::bf16, spectrum::Element::f32}) {
    Plan::Part part;
    part.launch.element = element;
    std::vector<PowerTask> tasks;
    std::size_t at = 0;
    for (std::size_t p = 0; p < pairs.size(); ++p) {
      const DeviceRows& query = sides[static_cast<std::size_t>(pairs[p].query)];
      const DeviceRows& key = sides[static_cast<std::size_t>(pairs[p].key)];
      float* direction = plan->directions.data<float>() + at;
      at += static_cast<std::size_t>(key.width);
      if (key.element != element) continue;
      tasks.push_back(
          {query, key, direction, direction + directions.size(), plan->results.data<double>() + p});
      part.launch.rows = std::max(part.launch.rows, key.rows);
      part.launch.whole = part.launch.whole && takes_whole_rows(query) && takes_whole_rows(key);
    }
    if (tasks.empty()) continue;
    part.launch.count = static_cast<int>(tasks.size());
    ULLAGE_TRY(check(prepare(part.launch), "planning power iteration"));
    ULLAGE_ASSIGN(part.tasks, uploaded<PowerTask>(tasks, nullptr));
    plan->parts.push_back(std::move(part));
  }
  return PowerIteration(std::move(plan));
}

Status PowerIteration::run(int iterations, Stream stream) {
  for (const Plan::Part& part : plan_->parts)
    ULLAGE_TRY(
        check(launch_power_iteration(part.tasks.data<PowerTask>(), part.launch, iterations, stream),
              "power iteration"));
  return {};
}

const double* PowerIteration::on_device() const { return plan_->results.data<double>(); }

Result<std::vector<double>> PowerIteration::read(Stream stream) const {
  std::vector<double> out(plan_->pairs);
  ULLAGE_TRY(download(on_device(), out.size() * sizeof(double), out.data(), stream));
  return out;
}

}  // namespace ullage::cuda
