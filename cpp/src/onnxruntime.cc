#include <onnxruntime_c_api.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <memory>

#include "backends.h"
#include "lookonce/errors.h"
#include "lookonce/onnx_file.h"
#include "lookonce/images.h"
#include "lookonce/text.h"

namespace lookonce {
namespace {

// The C interface: one header, and every later library answers to it.
static_assert(ORT_API_VERSION >= 13, "ONNX Runtime 1.13 or later is needed");

const OrtApi& api() {
  static const OrtApi* const kApi = OrtGetApiBase()->GetApi(ORT_API_VERSION);
  if (kApi == nullptr) {
    throw Error(std::string("ONNX Runtime ") + OrtGetApiBase()->GetVersionString() +
                " is older than the header this program was built with");
  }
  return *kApi;
}

struct Release {
  void operator()(OrtEnv* env) const { api().ReleaseEnv(env); }
  void operator()(OrtSession* session) const { api().ReleaseSession(session); }
  void operator()(OrtSessionOptions* options) const { api().ReleaseSessionOptions(options); }
  void operator()(OrtMemoryInfo* info) const { api().ReleaseMemoryInfo(info); }
  void operator()(OrtValue* value) const { api().ReleaseValue(value); }
  void operator()(OrtTypeInfo* info) const { api().ReleaseTypeInfo(info); }
  void operator()(OrtTensorTypeAndShapeInfo* info) const { api().ReleaseTensorTypeAndShapeInfo(info); }
  void operator()(OrtStatus* status) const { api().ReleaseStatus(status); }
};

template <typename Handle>
using Owned = std::unique_ptr<Handle, Release>;

void require(OrtStatus* status, const std::string& source) {
  const Owned<OrtStatus> owned(status);
  if (owned) throw Error(source + ": ONNX Runtime: " + api().GetErrorMessage(owned.get()));
}

/// What a function of the interface hands out through its last argument.
template <typename Handle, typename Make>
Owned<Handle> make(const std::string& source, const Make& call) {
  Handle* handle = nullptr;
  require(call(&handle), source);
  return Owned<Handle>(handle);
}

/// "cuda:1" -> "cuda" and "1".
std::pair<std::string, std::string> split_device(const std::string& device) {
  const std::size_t colon = device.find(':');
  return {lower_case(device.substr(0, colon)), colon == std::string::npos ? "0" : device.substr(colon + 1)};
}

/// One provider's options: made, told its device, added to the session's.
template <typename Options, typename Create, typename Update, typename Append, typename Free>
void add_provider(const std::string& source, const std::string& number, Create create, Update update, Append append,
                  Free free) {
  Options* made = nullptr;
  require(create(&made), source);
  const std::unique_ptr<Options, Free> owned(made, free);
  const std::array<const char*, 1> keys{"device_id"};
  const std::array<const char*, 1> values{number.c_str()};
  require(update(made, keys.data(), values.data(), keys.size()), source);
  require(append(made), source);
}

void use_device(OrtSessionOptions* options, const std::string& device, const std::string& source) {
  const auto [kind, number] = split_device(device);
  if (kind == "cpu") return;
  if (kind == "cuda") {
    return add_provider<OrtCUDAProviderOptionsV2>(
        source, number, api().CreateCUDAProviderOptions, api().UpdateCUDAProviderOptions,
        [&](const auto* made) { return api().SessionOptionsAppendExecutionProvider_CUDA_V2(options, made); },
        api().ReleaseCUDAProviderOptions);
  }
  if (kind == "tensorrt") {
    return add_provider<OrtTensorRTProviderOptionsV2>(
        source, number, api().CreateTensorRTProviderOptions, api().UpdateTensorRTProviderOptions,
        [&](const auto* made) { return api().SessionOptionsAppendExecutionProvider_TensorRT_V2(options, made); },
        api().ReleaseTensorRTProviderOptions);
  }
  if (kind == "cann") {
    return add_provider<OrtCANNProviderOptions>(
        source, number, api().CreateCANNProviderOptions, api().UpdateCANNProviderOptions,
        [&](const auto* made) { return api().SessionOptionsAppendExecutionProvider_CANN(options, made); },
        api().ReleaseCANNProviderOptions);
  }
  throw OptionError("device is " + device +
                    "; ONNX Runtime here knows cpu, cuda, tensorrt and cann, each with a number (:0)");
}

class OnnxLane final : public Lane {
 public:
  OnnxLane(OrtSession* session, const Record& record, bool takes_pixels, std::string source)
      : session_(session),
        record_(record),
        takes_pixels_(takes_pixels),
        source_(std::move(source)),
        memory_(make<OrtMemoryInfo>(source_, [](OrtMemoryInfo** made) {
          return api().CreateCpuMemoryInfo(OrtArenaAllocator, OrtMemTypeDefault, made);
        })) {}

  std::vector<HeadMap> run(const void* input, int count) override {
    const Owned<OrtValue> images = tensor_over(input, count);
    const OrtValue* const given = images.get();
    const char* const given_name = "images";
    std::vector<std::string> names;
    std::vector<const char*> name_pointers;
    for (const HeadRecord& head : record_.heads) names.push_back(raw_output_name(head));
    for (const std::string& name : names) name_pointers.push_back(name.c_str());
    std::vector<OrtValue*> made(names.size(), nullptr);
    require(api().Run(session_, nullptr, &given_name, &given, 1, name_pointers.data(), names.size(), made.data()),
            source_);
    outputs_.clear();
    for (OrtValue* value : made) outputs_.emplace_back(value);
    std::vector<HeadMap> maps;
    for (std::size_t head = 0; head < record_.heads.size(); ++head) maps.push_back(output(head, count));
    return maps;
  }

 private:
  Owned<OrtValue> tensor_over(const void* input, int count) const {
    const std::array<std::int64_t, 4> pixels{count, record_.height, record_.width, 3};
    const std::array<std::int64_t, 4> planes{count, 3, record_.height, record_.width};
    const auto& shape = takes_pixels_ ? pixels : planes;
    const std::size_t size = static_cast<std::size_t>(shape[0] * shape[1] * shape[2] * shape[3]);
    return make<OrtValue>(source_, [&](OrtValue** value) {
      return api().CreateTensorWithDataAsOrtValue(
          memory_.get(), const_cast<void*>(input), size * (takes_pixels_ ? 1 : sizeof(float)),  // NOLINT(*-const-cast)
          shape.data(), shape.size(),
          takes_pixels_ ? ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8 : ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, value);
    });
  }

  [[nodiscard]] HeadMap output(std::size_t index, int count) const {
    const HeadRecord& head = record_.heads[index];
    OrtValue* value = outputs_[index].get();
    const auto info = make<OrtTensorTypeAndShapeInfo>(
        source_, [&](OrtTensorTypeAndShapeInfo** made) { return api().GetTensorTypeAndShape(value, made); });
    std::size_t rank = 0;
    require(api().GetDimensionsCount(info.get(), &rank), source_);
    std::vector<std::int64_t> shape(rank);
    require(api().GetDimensions(info.get(), shape.data(), rank), source_);
    const HeadMap map{nullptr, record_.height / head.stride, record_.width / head.stride};
    if (shape != std::vector<std::int64_t>{count, record_.channels(head), map.rows, map.columns}) {
      throw Error(source_ + ": " + raw_output_name(head) + " has another shape than its record says; export it again");
    }
    void* data = nullptr;
    require(api().GetTensorMutableData(value, &data), source_);
    return {static_cast<const float*>(data), map.rows, map.columns};
  }

  OrtSession* session_;
  const Record& record_;
  bool takes_pixels_;
  std::string source_;
  Owned<OrtMemoryInfo> memory_;
  std::vector<Owned<OrtValue>> outputs_;
};

class OnnxBackend final : public Backend {
 public:
  OnnxBackend(const std::filesystem::path& path, const BackendOptions& options) : source_(path.string()) {
    // From bytes, not by its path: a file that names other files as its weights does not get them read.
    const std::string file = read_file(path);
    record_ = parse_record(onnx_metadata(file, kRecordKey, source_), source_);
    require_heads(onnx_values(file), record_, source_);
    std::vector<std::string> names;
    for (const HeadRecord& head : record_.heads) names.push_back(raw_output_name(head));
    const std::string bytes = with_onnx_outputs(file, names);
#ifndef _WIN32
    setenv("ORT_DISABLE_TELEMETRY", "1", 0);  // else ONNX Runtime stores a device's id and events in the user's cache
#endif
    env_ =
        make<OrtEnv>(source_, [](OrtEnv** made) { return api().CreateEnv(ORT_LOGGING_LEVEL_ERROR, "lookonce", made); });
    const Owned<OrtSessionOptions> settings = session_options(options);
    session_ = make<OrtSession>(source_, [&](OrtSession** made) {
      return api().CreateSessionFromArray(env_.get(), bytes.data(), bytes.size(), settings.get(), made);
    });
    look_at_input();
  }

  [[nodiscard]] std::string name() const override { return "onnxruntime"; }
  [[nodiscard]] const Record& record() const override { return record_; }
  [[nodiscard]] bool takes_pixels() const override { return takes_pixels_; }
  [[nodiscard]] int group() const override { return group_; }

  /// Lanes share the session, whose Run may be called by several threads at once, each on its own thread.
  std::unique_ptr<Lane> open_lane() override {
    return std::make_unique<OnnxLane>(session_.get(), record_, takes_pixels_, source_);
  }

 private:
  [[nodiscard]] Owned<OrtSessionOptions> session_options(const BackendOptions& options) const {
    auto settings =
        make<OrtSessionOptions>(source_, [](OrtSessionOptions** made) { return api().CreateSessionOptions(made); });
    require(api().SetIntraOpNumThreads(settings.get(), std::max(1, options.threads / options.lanes)), source_);
    require(api().SetInterOpNumThreads(settings.get(), 1), source_);
    use_device(settings.get(), options.device, source_);
    return settings;
  }

  void look_at_input() {
    const auto info = make<OrtTypeInfo>(
        source_, [&](OrtTypeInfo** made) { return api().SessionGetInputTypeInfo(session_.get(), 0, made); });
    const OrtTensorTypeAndShapeInfo* tensor = nullptr;  // belongs to `info`
    require(api().CastTypeInfoToTensorInfo(info.get(), &tensor), source_);
    ONNXTensorElementDataType type = ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED;
    require(api().GetTensorElementType(tensor, &type), source_);
    takes_pixels_ = type == ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8;
    std::array<std::int64_t, 4> shape{};
    require(api().GetDimensions(tensor, shape.data(), shape.size()), source_);
    group_ = shape[0] > 0 ? static_cast<int>(shape[0]) : 0;
  }

  std::string source_;
  Record record_;
  Owned<OrtEnv> env_;
  Owned<OrtSession> session_;
  bool takes_pixels_ = true;
  int group_ = 0;
};

}  // namespace

std::unique_ptr<Backend> open_onnxruntime(const std::filesystem::path& model, const BackendOptions& options) {
  return std::make_unique<OnnxBackend>(model, options);
}

}  // namespace lookonce
