#include "lookonce/backend.h"

#include <algorithm>
#include <functional>

#include "backends.h"
#include "lookonce/errors.h"

namespace lookonce {
namespace {

struct Runtime {
  std::string name;
  std::vector<std::string> suffixes;
  std::function<std::unique_ptr<Backend>(const std::filesystem::path&, const BackendOptions&)> open;
};

const std::vector<Runtime>& runtimes() {
  static const std::vector<Runtime> kTable{
#ifdef LOOKONCE_OPENVINO
      {"openvino", {".onnx", ".xml"}, open_openvino},
#endif
#ifdef LOOKONCE_ONNXRUNTIME
      {"onnxruntime", {".onnx"}, open_onnxruntime},
#endif
#ifdef LOOKONCE_NCNN
      {"ncnn", {".ncnn"}, open_ncnn},
#endif
  };
  return kTable;
}

bool reads(const Runtime& runtime, std::filesystem::path model) {
  if (!model.has_filename()) model = model.parent_path();  // model.ncnn/
  return std::any_of(runtime.suffixes.begin(), runtime.suffixes.end(),
                     [&](const std::string& suffix) { return model.extension() == suffix; });
}

}  // namespace

std::vector<std::string> built_runtimes() {
  std::vector<std::string> names;
  for (const Runtime& runtime : runtimes()) names.push_back(runtime.name);
  return names;
}

std::unique_ptr<Backend> open_backend(const std::filesystem::path& model, const BackendOptions& options) {
  std::string known;
  for (const Runtime& runtime : runtimes()) {
    known += (known.empty() ? "" : ", ") + runtime.name;
    if (options.runtime != "auto" && options.runtime != runtime.name) continue;
    if (reads(runtime, model)) return runtime.open(model, options);
    if (options.runtime != "auto") {
      throw Error(model.string() + ": " + runtime.name + " reads " + runtime.suffixes.front() + " files, not this one");
    }
  }
  if (known.empty()) throw Error("this program was built without any runtime; build it again with OpenVINO");
  if (options.runtime != "auto") throw Error("runtime is " + options.runtime + "; this program has: " + known);
  throw Error(model.string() + ": none of " + known +
              " reads such a file; expected one made by `lookonce export WEIGHTS --to onnx,openvino`");
}

std::string raw_output_name(const HeadRecord& head) {
  return "raw_stride" + std::to_string(head.stride);
}

}  // namespace lookonce
