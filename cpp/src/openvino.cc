#include <algorithm>
#include <map>
#include <openvino/openvino.hpp>
#include <string>
#include <utility>
#include <vector>

#include "backends.h"
#include "lookonce/errors.h"
#include "lookonce/onnx_file.h"
#include "lookonce/images.h"

namespace lookonce {
namespace {

/// Runs `work`; what OpenVINO throws becomes our error about the file.
template <typename Work>
auto explained(const std::string& source, Work&& work) {
  try {
    return std::forward<Work>(work)();
  } catch (const ov::Exception& error) {
    throw Error(source + ": OpenVINO: " + error.what());
  }
}

Record read_record(const ov::Model& model, const std::string& source) {
  const std::string key(kRecordKey);
  if (!model.has_rt_info(key)) {
    throw Error(source +
                ": an OpenVINO file without the record that lookonce writes into its own (class names, anchors, "
                "preprocessing); make the file with `lookonce export WEIGHTS --to openvino`");
  }
  return parse_record(model.get_rt_info<std::string>(key), source);
}

/// The input for images; graphs that end in detections have inputs for thresholds, too.
std::shared_ptr<ov::op::v0::Parameter> images_of(const ov::Model& model, const std::string& source) {
  for (const auto& parameter : model.get_parameters()) {
    if (parameter->output(0).get_names().count("images") != 0) return parameter;
  }
  throw Error(source + ": its graph has no input named images; export it again");
}

/// The part of the network that leads to the heads' raw outputs; decoding and selecting are left to our own code.
std::shared_ptr<ov::Model> cut_at_heads(const ov::Model& model, const Record& record, const std::string& source) {
  std::map<std::string, ov::Output<ov::Node>> values;
  std::vector<std::string> names;
  for (const auto& operation : model.get_ordered_ops()) {
    if (ov::is_type<ov::op::v0::Result>(operation)) continue;  // goes by the name of what it gives out
    for (const auto& output : operation->outputs()) {
      for (const std::string& name : output.get_names()) values.emplace(name, output);
    }
  }
  for (const auto& [name, _] : values) names.push_back(name);
  require_heads(names, record, source);
  ov::OutputVector outputs;
  for (const HeadRecord& head : record.heads) outputs.push_back(values.at(raw_output_name(head)));
  return std::make_shared<ov::Model>(outputs, ov::ParameterVector{images_of(model, source)}, "lookonce");
}

/// The graph, too, says how large images are, and how many values there are for each place; the batch aside.
void require_shapes(const ov::Model& heads, const Record& record, const std::string& source) {
  const auto require = [&](const std::string& what, ov::PartialShape shape, const ov::Shape& expected) {
    if (shape.compatible(expected)) return;
    throw Error(source + ": " + what + ": " + shape.to_string() + "; expected " + expected.to_string() +
                " by the record (image_size, class_names, masks, strides) in the file; export it again");
  };
  const auto height = static_cast<std::size_t>(record.height);
  const auto width = static_cast<std::size_t>(record.width);
  const ov::Output<const ov::Node> images = heads.input();
  const ov::PartialShape given = images.get_partial_shape();
  const bool is_fixed = given.rank().is_static() && given.size() == 4 && given[0].is_static();
  const std::size_t batch = is_fixed ? static_cast<std::size_t>(given[0].get_length()) : 1;
  const bool takes_pixels = images.get_element_type() == ov::element::u8;
  require("images", given, takes_pixels ? ov::Shape{batch, height, width, 3} : ov::Shape{batch, 3, height, width});
  for (std::size_t index = 0; index < record.heads.size(); ++index) {
    const HeadRecord& head = record.heads[index];
    const auto stride = static_cast<std::size_t>(head.stride);
    require(raw_output_name(head), heads.output(index).get_partial_shape(),
            {batch, static_cast<std::size_t>(record.channels(head)), height / stride, width / stride});
  }
}

class OpenVinoLane final : public Lane {
 public:
  OpenVinoLane(ov::InferRequest request, const Record& record, bool takes_pixels, std::string source)
      : request_(std::move(request)), record_(record), takes_pixels_(takes_pixels), source_(std::move(source)) {}

  std::vector<HeadMap> run(const void* input, int count) override {
    return explained(source_, [&] {
      // OpenVINO has no tensor over constant memory; it does not write into inputs.
      request_.set_input_tensor(ov::Tensor(type(), shape(count), const_cast<void*>(input)));  // NOLINT(*-const-cast)
      request_.infer();
      std::vector<HeadMap> maps;
      for (std::size_t head = 0; head < record_.heads.size(); ++head) maps.push_back(output(head, count));
      return maps;
    });
  }

 private:
  [[nodiscard]] ov::element::Type type() const { return takes_pixels_ ? ov::element::u8 : ov::element::f32; }

  [[nodiscard]] ov::Shape shape(int count) const {
    const auto batch = static_cast<std::size_t>(count);
    const auto height = static_cast<std::size_t>(record_.height);
    const auto width = static_cast<std::size_t>(record_.width);
    return takes_pixels_ ? ov::Shape{batch, height, width, 3} : ov::Shape{batch, 3, height, width};
  }

  HeadMap output(std::size_t index, int count) {
    const HeadRecord& head = record_.heads[index];
    const ov::Tensor tensor = request_.get_output_tensor(index);
    const HeadMap map{tensor.data<const float>(), record_.height / head.stride, record_.width / head.stride};
    const ov::Shape expected{static_cast<std::size_t>(count), static_cast<std::size_t>(record_.channels(head)),
                             static_cast<std::size_t>(map.rows), static_cast<std::size_t>(map.columns)};
    if (tensor.get_shape() != expected) {
      throw Error(source_ + ": " + raw_output_name(head) + " is " + tensor.get_shape().to_string() +
                  ", but its record says " + expected.to_string() + "; export it again");
    }
    return map;
  }

  ov::InferRequest request_;
  const Record& record_;
  bool takes_pixels_;
  std::string source_;
};

/// Error unless OpenVINO has the device here (CPU, GPU, GPU.1 ...) or chooses among these (AUTO, HETERO:GPU,CPU).
void require_device(const ov::Core& core, const std::string& device) {
  const std::vector<std::string> found = core.get_available_devices();  // GPU.0 and GPU.1 where there are two
  std::vector<std::string> known = {"AUTO", "BATCH", "HETERO", "MULTI"};
  std::string here;
  for (const std::string& one : found) {
    known.push_back(one.substr(0, one.find('.')));
    here += ", " + one;
  }
  const std::string kind = device.substr(0, device.find_first_of(".:"));
  if (std::find(known.begin(), known.end(), kind) != known.end()) return;
  throw OptionError("device: " + device + "; expected one that OpenVINO finds here: AUTO" + here);
}

class OpenVinoBackend final : public Backend {
 public:
  OpenVinoBackend(const std::filesystem::path& path, const BackendOptions& options) : source_(path.string()) {
    explained(source_, [&] { open(path, options); });
  }

  [[nodiscard]] std::string name() const override { return "openvino"; }
  [[nodiscard]] const Record& record() const override { return record_; }
  [[nodiscard]] bool takes_pixels() const override { return takes_pixels_; }
  [[nodiscard]] int group() const override { return group_; }
  [[nodiscard]] bool queues_calls() const override { return true; }

  std::unique_ptr<Lane> open_lane() override {
    return explained(source_, [&] {
      return std::make_unique<OpenVinoLane>(compiled_.create_infer_request(), record_, takes_pixels_, source_);
    });
  }

 private:
  void open(const std::filesystem::path& path, const BackendOptions& options) {
    require_device(core_, options.device);
    const std::shared_ptr<ov::Model> model = read(path);
    const ov::Output<ov::Node> input = images_of(*model, source_)->output(0);
    takes_pixels_ = input.get_element_type() == ov::element::u8;
    group_ = input.get_partial_shape()[0].is_static() ? static_cast<int>(input.get_shape()[0]) : 0;
    const std::shared_ptr<ov::Model> heads = cut_at_heads(*model, record_, source_);
    require_shapes(*heads, record_, source_);
    compiled_ = core_.compile_model(heads, options.device, properties(options));
  }

  std::shared_ptr<ov::Model> read(const std::filesystem::path& path) {
    if (path.extension() != ".onnx") {
      const std::filesystem::path weights = std::filesystem::path(path).replace_extension(".bin");
      if (path.extension() == ".xml" && !std::filesystem::exists(weights)) {
        throw Error(source_ + ": its weights are not beside it; copy " + weights.filename().string() + " too");
      }
      std::shared_ptr<ov::Model> model = core_.read_model(path);
      record_ = read_record(*model, source_);
      return model;
    }
    // From bytes, not by its path: a file that names other files as its weights does not get them read.
    const std::string bytes = read_file(path);
    record_ = parse_record(onnx_metadata(bytes, kRecordKey, source_), source_);
    return core_.read_model(bytes, ov::Tensor());
  }

  static ov::AnyMap properties(const BackendOptions& options) {
    if (options.device.rfind("CPU", 0) != 0) return {};
    // float32 as in training, on processors that would take bfloat16 by themselves, too.
    return {ov::inference_num_threads(options.threads), ov::num_streams(options.lanes),
            ov::hint::inference_precision(ov::element::f32)};
  }

  std::string source_;
  ov::Core core_;
  Record record_;
  bool takes_pixels_ = true;
  int group_ = 0;
  ov::CompiledModel compiled_;
};

}  // namespace

std::unique_ptr<Backend> open_openvino(const std::filesystem::path& model, const BackendOptions& options) {
  return std::make_unique<OpenVinoBackend>(model, options);
}

}  // namespace lookonce
