#include <net.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "backends.h"
#include "lookonce/errors.h"
#include "lookonce/images.h"
#include "lookonce/text.h"

namespace lookonce {
namespace {

class NcnnLane final : public Lane {
 public:
  NcnnLane(const ncnn::Net& net, const Record& record, bool takes_pixels, std::string source)
      : net_(net), record_(record), takes_pixels_(takes_pixels), source_(std::move(source)) {}

  std::vector<HeadMap> run(const void* input, int /*count: always one*/) override {
    const ncnn::Mat images = mat_of(input);
    ncnn::Extractor extractor = net_.create_extractor();
    if (extractor.input("images", images) != 0) fail("takes no image");
    values_.clear();
    std::vector<HeadMap> maps;
    for (const HeadRecord& head : record_.heads) {
      ncnn::Mat output;
      if (extractor.extract(raw_output_name(head).c_str(), output) != 0) fail("gives no " + raw_output_name(head));
      maps.push_back(keep(output, head));
    }
    return maps;
  }

 private:
  [[noreturn]] void fail(const std::string& why) const {
    throw Error(source_ + ": ncnn: its network " + why + "; export it again with `lookonce export WEIGHTS --to ncnn`");
  }

  /// Float planes, either of the numbers 0..255 or normalised already.
  [[nodiscard]] ncnn::Mat mat_of(const void* input) const {
    if (takes_pixels_) {
      return ncnn::Mat::from_pixels(static_cast<const unsigned char*>(input), ncnn::Mat::PIXEL_RGB, record_.width,
                                    record_.height);
    }
    // ncnn does not write into inputs; planes have no gaps, as sides are multiples of 32.
    return {record_.width, record_.height, 3, const_cast<void*>(input)};  // NOLINT(*-const-cast)
  }

  /// A copy without the gaps that ncnn leaves between channels.
  HeadMap keep(const ncnn::Mat& output, const HeadRecord& head) {
    const HeadMap shape{nullptr, record_.height / head.stride, record_.width / head.stride};
    if (output.dims != 3 || output.c != record_.channels(head) || output.h != shape.rows || output.w != shape.columns) {
      fail("gives " + raw_output_name(head) + " of another shape than its record says");
    }
    const auto cells = static_cast<std::size_t>(shape.rows) * static_cast<std::size_t>(shape.columns);
    std::vector<float>& values = values_.emplace_back();
    for (int channel = 0; channel < output.c; ++channel) {
      const float* plane = output.channel(channel);
      values.insert(values.end(), plane, plane + cells);
    }
    return {values.data(), shape.rows, shape.columns};
  }

  const ncnn::Net& net_;
  const Record& record_;
  bool takes_pixels_;
  std::string source_;
  std::vector<std::vector<float>> values_;
};

class NcnnBackend final : public Backend {
 public:
  NcnnBackend(const std::filesystem::path& folder, const BackendOptions& options)
      : record_(parse_record(read_file(folder / "record.json"), (folder / "record.json").string())),
        source_(folder.string()),
        takes_pixels_(read_interface(folder / "interface.json")) {
    if (lower_case(options.device) != "cpu")
      throw OptionError("device is " + options.device + "; ncnn runs on the processor here, so cpu");
    net_.opt.num_threads = std::max(1, options.threads / options.lanes);
    net_.opt.use_vulkan_compute = false;
    // By default numbers between layers are rounded to 16 bits where the processor can.
    net_.opt.use_fp16_packed = net_.opt.use_fp16_storage = net_.opt.use_fp16_arithmetic = false;
    net_.opt.use_bf16_storage = false;
    if (net_.load_param((folder / "model.ncnn.param").c_str()) != 0 ||
        net_.load_model((folder / "model.ncnn.bin").c_str()) != 0) {
      throw Error(source_ +
                  ": ncnn cannot read the network in it; export it again with `lookonce export WEIGHTS --to ncnn`");
    }
  }

  [[nodiscard]] std::string name() const override { return "ncnn"; }
  [[nodiscard]] const Record& record() const override { return record_; }
  [[nodiscard]] bool takes_pixels() const override { return takes_pixels_; }
  [[nodiscard]] int group() const override { return 1; }

  std::unique_ptr<Lane> open_lane() override {
    return std::make_unique<NcnnLane>(net_, record_, takes_pixels_, source_);
  }

 private:
  /// Whether the network takes pixels (as planes), and not what is normalised already.
  [[nodiscard]] bool read_interface(const std::filesystem::path& path) const {
    const auto told = nlohmann::json::parse(read_file(path), nullptr, false);
    const std::string takes = told.is_object() ? told.value("takes", nlohmann::json()).dump() : "";
    if (takes != R"("planes")" && takes != R"("normalised")") {
      throw Error(path.string() + R"(: does not say "takes": "planes" or "normalised"; export it again)");
    }
    std::vector<std::string> names;
    for (const auto& name : told.value("outputs", nlohmann::json::array())) {
      if (name.is_string()) names.push_back(name.get<std::string>());
    }
    require_heads(names, record_, source_);
    return takes == R"("planes")";
  }

  Record record_;
  std::string source_;
  bool takes_pixels_;
  ncnn::Net net_;
};

}  // namespace

std::unique_ptr<Backend> open_ncnn(const std::filesystem::path& model, const BackendOptions& options) {
  return std::make_unique<NcnnBackend>(model, options);
}

}  // namespace lookonce
