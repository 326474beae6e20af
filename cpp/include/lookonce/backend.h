#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "lookonce/decode.h"
#include "lookonce/record.h"

namespace lookonce {

/// How a network is opened. `lanes` calls run at the same time, each on `threads / lanes` threads.
struct BackendOptions {
  /// "openvino", "onnxruntime", "ncnn"; auto: the first that is built in and reads the file.
  std::string runtime = "auto";
  std::string device = "CPU";  // as the runtime spells it: CPU, GPU, NPU; cpu, cuda, tensorrt, cann, each with :1
  int threads = 1;
  int lanes = 1;
};

/// What one thread runs the network through; not for two threads at once.
class Lane {
 public:
  Lane() = default;
  Lane(const Lane&) = delete;
  Lane& operator=(const Lane&) = delete;
  virtual ~Lane() = default;

  /// `input`: count images of uint8 (height, width, 3) or float (3, height, width), as Backend::takes_pixels says.
  /// Returns the heads' raw outputs, in the record's order, each (count, anchors * (5 + classes), rows, columns);
  /// they stay valid until the next call. Error: the network gave something else, or the runtime failed.
  virtual std::vector<HeadMap> run(const void* input, int count) = 0;
};

/// A network that has been read and compiled; whichever library runs it, preparing and selecting are elsewhere.
class Backend {
 public:
  Backend() = default;
  Backend(const Backend&) = delete;
  Backend& operator=(const Backend&) = delete;
  virtual ~Backend() = default;

  [[nodiscard]] virtual std::string name() const = 0;
  [[nodiscard]] virtual const Record& record() const = 0;
  /// uint8 canvases, or normalised floats (files exported with --no-preprocess).
  [[nodiscard]] virtual bool takes_pixels() const = 0;
  /// Number of images per call, exactly; 0: any number.
  [[nodiscard]] virtual int group() const = 0;
  /// Whether calls beyond BackendOptions::lanes wait inside the runtime, which computes on threads of its own; false:
  /// they run at once, and share the processors.
  [[nodiscard]] virtual bool queues_calls() const { return false; }
  virtual std::unique_ptr<Lane> open_lane() = 0;
};

/// The runtimes that this build has, by name.
std::vector<std::string> built_runtimes();

std::unique_ptr<Backend> open_backend(const std::filesystem::path& model, const BackendOptions& options);

/// "raw_stride32": the value inside every exported graph that is the head's raw output.
std::string raw_output_name(const HeadRecord& head);

/// Error unless the raw outputs among the names of a graph's values are those of the record's heads. With fewer heads
/// in the record, the detections of the others would be lost.
void require_heads(const std::vector<std::string>& names, const Record& record, const std::string& source);

}  // namespace lookonce
