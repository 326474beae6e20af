#include "lookonce/backend.h"

#include <algorithm>
#include <functional>
#include <set>
#include <string_view>

#include "backends.h"
#include "lookonce/errors.h"

namespace lookonce {
namespace {

constexpr std::string_view kRawPrefix = "raw_stride";

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
      throw OptionError(model.string() + ": " + runtime.name + " reads " + runtime.suffixes.front() +
                        " files, not this one");
    }
  }
  if (known.empty()) throw Error("this program was built without any runtime; build it again with OpenVINO");
  if (options.runtime != "auto") throw OptionError("runtime is " + options.runtime + "; this program has: " + known);
  throw Error(model.string() + ": not a file that this program's runtimes (" + known +
              ") read; expected one made by `lookonce export WEIGHTS --to onnx,openvino`");
}

std::string raw_output_name(const HeadRecord& head) {
  return std::string(kRawPrefix) + std::to_string(head.stride);
}

void require_heads(const std::vector<std::string>& names, const Record& record, const std::string& source) {
  std::set<std::string> found;
  std::set<std::string> expected;
  for (const std::string& name : names) {
    const bool is_raw = name.rfind(kRawPrefix, 0) == 0 && name.size() > kRawPrefix.size() &&
                        name.find_first_not_of("0123456789", kRawPrefix.size()) == std::string::npos;
    if (is_raw) found.insert(name);
  }
  for (const HeadRecord& head : record.heads) expected.insert(raw_output_name(head));
  if (found == expected) return;
  const auto joined = [](const std::set<std::string>& some) {
    std::string text;
    for (const std::string& name : some) text += (text.empty() ? "" : ", ") + name;
    return text.empty() ? std::string("none") : text;
  };
  throw Error(source + ": heads " + joined(found) + "; expected " + joined(expected) +
              " by the strides in its record; export it again");
}

}  // namespace lookonce
