#include "ullage/cuda/gram_engine.h"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <mutex>
#include <utility>
#include <vector>

#include "cuda/runtime.h"
#include "cuda/sides.h"
#include "ullage/cuda/grams.h"

namespace ullage::cuda {
namespace {

using spectrum::HeadRows;

std::size_t element_bytes(spectrum::Element element) {
  return element == spectrum::Element::bf16 ? 2 : element == spectrum::Element::f32 ? 4 : 8;
}

// Device memory that grows and is used again.
class Pool {
 public:
  Result<void*> reserve(std::size_t bytes) {
    if (bytes > memory_.bytes()) {
      memory_ = DeviceMemory();  // never both at once
      ULLAGE_ASSIGN(memory_, DeviceMemory::allocate(bytes));
    }
    return memory_.data();
  }

 private:
  DeviceMemory memory_;
};

class Engine final : public spectrum::GramEngine {
 public:
  explicit Engine(int device) : device_(device) {}

  [[nodiscard]] const char* device() const override { return "cuda"; }

  Status begin(std::size_t heads) override {
    // Memory stays with its number: the heads of the next layer are as large.
    heads_.resize(heads);
    return {};
  }

  Status add(std::size_t head, const HeadRows& rows) override {
    // The scan's threads are not those that chose the device.
    ULLAGE_TRY(check(cudaSetDevice(device_), "choosing a GPU"));
    const std::size_t element = element_bytes(rows.element);
    // Rows are packed, at multiples of 16 bytes.
    const std::size_t pitch = (static_cast<std::size_t>(rows.width) * element + 15) / 16 * 16;
    Head& own = heads_[head];
    ULLAGE_ASSIGN(void* values, own.values.reserve(pitch * static_cast<std::size_t>(rows.rows)));
    ULLAGE_TRY(check(
        cudaMemcpy2D(values, pitch, rows.values, static_cast<std::size_t>(rows.stride) * element,
                     static_cast<std::size_t>(rows.width) * element,
                     static_cast<std::size_t>(rows.rows), cudaMemcpyHostToDevice),
        "a copy to the GPU"));
    ULLAGE_ASSIGN(const double* gain, gain_of(rows));
    own.rows.values = values;
    own.rows.element = rows.element;
    own.rows.rows = rows.rows;
    own.rows.width = rows.width;
    own.rows.stride = static_cast<std::ptrdiff_t>(pitch / element);
    own.rows.gain = gain;
    own.rows.project_mean = rows.project_mean;
    return {};
  }

  Result<spectrum::LayerGrams> finish(std::span<const spectrum::CrossPair> pairs) override {
    ULLAGE_TRY(check(cudaSetDevice(device_), "choosing a GPU"));
    std::vector<DeviceRows> folded;
    for (const Head& head : heads_) folded.push_back(head.rows);
    // Stored rows beside the folded ones, where that is not the same.
    std::vector<DeviceRows> sides = folded;
    std::vector<std::size_t> stored(folded.size());
    for (std::size_t h = 0; h < folded.size(); ++h) {
      stored[h] = h;
      if (!folds(folded[h])) continue;
      stored[h] = sides.size();
      sides.push_back(folded[h]);
      sides.back().gain = nullptr;
      sides.back().project_mean = false;
    }
    ULLAGE_ASSIGN(std::vector<SideGram> found, grams(sides, nullptr));
    spectrum::LayerGrams out;
    out.heads.resize(folded.size());
    for (std::size_t h = 0; h < folded.size(); ++h) {
      out.heads[h].fits = found[h].fits && found[stored[h]].fits;
      out.heads[h].stored = found[stored[h]].gram;
      out.heads[h].folded = std::move(found[h].gram);
    }
    ULLAGE_TRY(cross(folded, pairs, out));
    gains_.clear();
    return out;
  }

 private:
  struct Head {
    Pool values;
    DeviceRows rows;
  };

  // All heads of a projection share one gain: it is copied once.
  Result<const double*> gain_of(const HeadRows& rows) {
    if (rows.gain.empty()) return nullptr;
    const std::lock_guard lock(mutex_);
    for (const auto& [host, memory] : gains_)
      if (host.data() == rows.gain.data() && host.size() == rows.gain.size())
        return memory.data<const double>();
    ULLAGE_ASSIGN(DeviceMemory memory, uploaded<double>(rows.gain, nullptr));
    gains_.emplace_back(rows.gain, std::move(memory));
    return gains_.back().second.data<const double>();
  }

  static Status cross(std::span<const DeviceRows> folded,
                      std::span<const spectrum::CrossPair> pairs, spectrum::LayerGrams& out) {
    std::vector<HeadPair> asked;
    std::vector<std::size_t> places;
    out.cross.resize(pairs.size());
    for (std::size_t p = 0; p < pairs.size(); ++p) {
      const auto fits = [&](int head) { return out.heads[static_cast<std::size_t>(head)].fits; };
      if (!fits(pairs[p].query) || !fits(pairs[p].key)) continue;
      asked.push_back({pairs[p].query, pairs[p].key});
      places.push_back(p);
    }
    if (asked.empty()) return {};
    ULLAGE_ASSIGN(std::vector<spectrum::Matrix> found, cross_grams(folded, asked, nullptr));
    for (std::size_t p = 0; p < places.size(); ++p) out.cross[places[p]] = std::move(found[p]);
    return {};
  }

  int device_;
  std::mutex mutex_;
  std::vector<Head> heads_;
  std::vector<std::pair<std::span<const double>, DeviceMemory>> gains_;
};

}  // namespace

Result<std::unique_ptr<spectrum::GramEngine>> make_gram_engine() {
  ULLAGE_TRY(usable());
  int device = 0;
  ULLAGE_TRY(check(cudaGetDevice(&device), "choosing a GPU"));
  return std::unique_ptr<spectrum::GramEngine>(std::make_unique<Engine>(device));
}

}  // namespace ullage::cuda
