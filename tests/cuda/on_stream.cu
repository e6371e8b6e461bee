#include "cuda/on_stream.h"

#include <cuda_runtime_api.h>

#include "cuda/runtime.h"

namespace ullage::cuda {
namespace {

class OwnStream {
 public:
  OwnStream()
      : status_(check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "a stream")) {}
  ~OwnStream() { cudaStreamDestroy(stream_); }
  OwnStream(const OwnStream&) = delete;
  OwnStream& operator=(const OwnStream&) = delete;
  const Status& status() const { return status_; }
  cudaStream_t get() const { return stream_; }

 private:
  cudaStream_t stream_ = nullptr;
  Status status_;
};

}  // namespace

Status on_own_stream(const Work& work) {
  const OwnStream stream;
  ULLAGE_TRY(stream.status());
  ULLAGE_TRY(work(stream.get()));
  return synchronise(stream.get());
}

Status captured_and_replayed(const Work& work, int times) {
  const OwnStream stream;
  ULLAGE_TRY(stream.status());
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t replay = nullptr;
  ULLAGE_TRY(check(cudaStreamBeginCapture(stream.get(), cudaStreamCaptureModeGlobal), "a capture"));
  const Status worked = work(stream.get());
  ULLAGE_TRY(check(cudaStreamEndCapture(stream.get(), &graph), "a capture's end"));
  ULLAGE_TRY(worked);
  ULLAGE_TRY(check(cudaGraphInstantiate(&replay, graph, 0), "a graph"));
  for (int i = 0; i < times; ++i)
    ULLAGE_TRY(check(cudaGraphLaunch(replay, stream.get()), "a replay"));
  ULLAGE_TRY(synchronise(stream.get()));
  cudaGraphExecDestroy(replay);
  cudaGraphDestroy(graph);
  return {};
}

}  // namespace ullage::cuda
