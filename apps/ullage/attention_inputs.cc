#include "ullage/attention_inputs.h"

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "ullage/checkpoint/store.h"
#include "ullage/checkpoint/weights.h"

namespace ullage::apps {
namespace {

// More rows or heads than any study ends with; keeps products of sizes far from overflow.
constexpr std::uint64_t kMostRows = 1 << 20;
constexpr std::uint64_t kMostHeads = 1 << 14;

// (batch, heads, rows, columns).
struct Extent {
  std::size_t batch, heads, rows, columns;
};

class InputFile {
 public:
  explicit InputFile(checkpoint::TensorStore store) : store_(std::move(store)) {}

  Result<attention::StudyInputs> read(const InputOptions& options) {
    ULLAGE_ASSIGN(const Extent q, extent("q"));
    ULLAGE_ASSIGN(const Extent k, extent("k"));
    ULLAGE_ASSIGN(const Extent v, extent("v"));
    attention::StudyInputs inputs;
    inputs.shape = {q.batch, q.heads, k.heads, q.rows, k.rows, q.columns, v.columns};
    ULLAGE_TRY(expect("k", k.batch == q.batch && k.columns == q.columns,
                      "the batch and number of columns of q"));
    ULLAGE_TRY(expect("v", v.batch == k.batch && v.heads == k.heads && v.rows == k.rows,
                      "the batch, heads and rows of k"));
    ULLAGE_TRY(values("q", inputs.q));
    ULLAGE_TRY(values("k", inputs.k));
    ULLAGE_TRY(values("v", inputs.v));
    if (store_.find("grad_output") != nullptr) {
      ULLAGE_ASSIGN(const Extent grad, extent("grad_output"));
      ULLAGE_TRY(expect("grad_output",
                        grad.batch == q.batch && grad.heads == q.heads && grad.rows == q.rows &&
                            grad.columns == v.columns,
                        "the batch, heads and rows of q, the columns of v"));
      ULLAGE_TRY(values("grad_output", inputs.grad_output));
    }
    if (store_.find("x") != nullptr) ULLAGE_TRY(read_x(q, inputs));
    if (options.causal) inputs.mask = attention::causal();
    if (options.window) inputs.mask = attention::sliding_window(*options.window);
    inputs.scale = options.scale;
    inputs.soft_cap = options.soft_cap;
    ULLAGE_TRY(attention::check(inputs));
    return inputs;
  }

 private:
  Status read_x(const Extent& q, attention::StudyInputs& inputs) {
    ULLAGE_ASSIGN(const checkpoint::TensorInfo* tensor, store_.get("x"));
    const auto shape = tensor->shape;
    const bool batched = shape.size() == 3;
    if ((shape.size() != 2 && !batched) || (batched && shape[0] != q.batch) ||
        (!batched && q.batch != 1) || shape[batched ? 1 : 0] != q.rows)
      return mismatch("x", "(batch, rows, columns) with the batch and rows of q");
    if (shape.back() == 0 || shape.back() > kMostRows) return mismatch("x", "some columns");
    inputs.model_width = shape.back();
    return values("x", inputs.x);
  }

  Result<Extent> extent(const char* name) const {
    ULLAGE_ASSIGN(const checkpoint::TensorInfo* tensor, store_.get(name));
    const auto shape = tensor->shape;
    if (shape.size() != 3 && shape.size() != 4)
      return mismatch(name, "(heads, rows, columns) or (batch, heads, rows, columns)");
    const auto last = shape.last(3);
    const std::uint64_t batch = shape.size() == 4 ? shape[0] : 1;
    if (batch == 0 || batch > kMostHeads || last[0] == 0 || last[0] > kMostHeads || last[1] == 0 ||
        last[1] > kMostRows || last[2] == 0 || last[2] > attention::kMaxWidth)
      return mismatch(name, "at least one head and row, at most 256 columns");
    return Extent{batch, last[0], last[1], last[2]};
  }

  Status values(const char* name, std::vector<float>& out) const {
    ULLAGE_ASSIGN(const checkpoint::TensorInfo* tensor, store_.get(name));
    out.resize(tensor->elements());
    return checkpoint::read_elements(store_, *tensor, 0, std::span<float>(out));
  }

  Status expect(const char* name, bool fits, const char* expected) const {
    if (fits) return {};
    return mismatch(name, expected);
  }

  Error mismatch(const char* name, const char* expected) const {
    const checkpoint::TensorInfo* tensor = store_.find(name);
    return {Code::size_mismatch, "has a shape that does not fit", store_.describe(*tensor),
            expected, checkpoint::shape_text(tensor->shape)};
  }

  checkpoint::TensorStore store_;
};

}  // namespace

Result<attention::StudyInputs> read_inputs(const std::string& path, const InputOptions& options) {
  ULLAGE_ASSIGN(const checkpoint::Location location, checkpoint::locate(path));
  ULLAGE_ASSIGN(checkpoint::TensorStore store, checkpoint::TensorStore::open(location));
  return InputFile(std::move(store)).read(options);
}

}  // namespace ullage::apps
