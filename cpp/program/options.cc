#include "options.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <functional>
#include <limits>
#include <map>
#include <numeric>
#include <sstream>

#include "lookonce/errors.h"
#include "cores.h"

namespace lookonce {
namespace {

struct Known {
  std::string name;
  std::string value;  // name of its value in the help; empty for a switch
  std::string help;
  std::function<void(Options&, const std::string&)> apply;
};

/// 1, not 1.000000.
template <typename Number>
std::string plain(Number value) {
  std::ostringstream text;
  text << value;
  return text.str();
}

template <typename Number>
Number number(const std::string& name, const std::string& text, Number low, Number high) {
  Number value{};
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (problem != std::errc() || end != text.data() + text.size() || !(value >= low && value <= high)) {
    const bool bounded = high < std::numeric_limits<Number>::max();
    throw Error(name + " is '" + text + "'; expected a number " +
                (bounded ? "from " + plain(low) + " to " + plain(high) : "of at least " + plain(low)));
  }
  return value;
}

bool truth(const std::string& name, const std::string& text) {
  if (text == "true") return true;
  if (text == "false") return false;
  throw Error(name + " is '" + text + "'; expected true or false");
}

std::function<void(Options&, const std::string&)> whole(const std::string& name, int low,
                                                        const std::function<int&(Options&)>& member) {
  return [=](Options& options, const std::string& text) {
    member(options) = number<int>(name, text, low, std::numeric_limits<int>::max());
  };
}

const std::vector<Known>& known_options() {
  static const std::vector<Known> kTable{
      {"--output", "DIR", "output folder; default: a new folder runs/infer-1, runs/infer-2, ...",
       [](Options& options, const std::string& text) { options.output = std::filesystem::u8path(text); }},
      {"--threshold", "X", "confidence threshold, 0 to 1; default: the model's",
       [](Options& options, const std::string& text) {
         options.detector.score_threshold = number<float>("--threshold", text, 0, 1);
       }},
      {"--iou-threshold", "X", "IoU threshold of NMS, 0 to 1; default: the model's",
       [](Options& options, const std::string& text) {
         options.detector.iou_threshold = number<float>("--iou-threshold", text, 0, 1);
       }},
      {"--max-detections", "N", "maximum detections per image, 1 or more; default: the model's",
       [](Options& options, const std::string& text) {
         options.detector.max_detections = number<int>("--max-detections", text, 1, std::numeric_limits<int>::max());
       }},
      {"--multi-label", "BOOL", "true: a box may have several classes; false: only its best; default: the model's",
       [](Options& options, const std::string& text) { options.detector.multi_label = truth("--multi-label", text); }},
      {"--agnostic", "BOOL", "true: NMS across classes; false: within each class; default: the model's",
       [](Options& options, const std::string& text) { options.detector.agnostic = truth("--agnostic", text); }},
      {"--threads", "N", "threads for the network; default: OMP_NUM_THREADS if set, else one per core",
       whole("--threads", 1, [](Options& options) -> int& { return options.backend.threads; })},
      {"--batch", "N", "batch size: images per run of the network; default: 1",
       whole("--batch", 1, [](Options& options) -> int& { return options.batch; })},
      {"--warmup", "N", "runs of the network before timing starts; default: 0",
       whole("--warmup", 0, [](Options& options) -> int& { return options.warmup; })},
      {"--timing", "", "print the time of each stage; write time_Result/test_perform_static.txt",
       [](Options& options, const std::string&) { options.timing = true; }},
      {"--model-only", "SECONDS", "first run only the network for this long, 0 to 3600, and print its throughput",
       [](Options& options, const std::string& text) {
         options.model_only_seconds = number<double>("--model-only", text, 0, 3600);
       }},
      {"--raw", "", "write the raw outputs of the heads to result_Files/NAME_0.bin, NAME_1.bin",
       [](Options& options, const std::string&) { options.raw = true; }},
      {"--no-images", "", "do not save annotated images or videos",
       [](Options& options, const std::string&) { options.images = false; }},
      {"--annotations", "FILE", "COCO annotations: only their images, with their image ids",
       [](Options& options, const std::string& text) { options.annotations = std::filesystem::u8path(text); }},
      {"--runtime", "NAME", "auto, openvino, onnxruntime or ncnn; default: auto",
       [](Options& options, const std::string& text) { options.backend.runtime = text; }},
      {"--device", "NAME", "OpenVINO: CPU, GPU, NPU; ONNX Runtime: cpu, cuda:0, tensorrt:0, cann:0; default: CPU",
       [](Options& options, const std::string& text) { options.backend.device = text; }},
  };
  return kTable;
}

std::size_t edit_distance(const std::string& a, const std::string& b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), 0);
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i + 1);
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = std::exchange(row[j + 1], std::min({row[j] + 1, row[j + 1] + 1, replaced}));
    }
  }
  return row.back();
}

/// What to do for an option of `lookonce predict` or of other detectors that is none here; "" for other names.
std::string instead_of(const std::string& name) {
  static const std::map<std::string, std::string> kInstead{
      {"--image-size", "the file has its size: lookonce export --image-size"},
      {"--imgsz", "the file has its size: lookonce export --image-size"},
      {"--conf", "did you mean --threshold?"},
      {"--confidence", "did you mean --threshold?"},
      {"--iou", "did you mean --iou-threshold?"},
      {"--max-det", "did you mean --max-detections?"},
      {"--weights", "the model is the first argument: lookonce-infer MODEL SOURCE"},
      {"--model", "the model is the first argument: lookonce-infer MODEL SOURCE"},
      {"--source", "the sources stand after the model: lookonce-infer MODEL SOURCE"},
      {"--classes", "lookonce predict has it"},
      {"--track", "lookonce predict has it"},
      {"--tile", "lookonce predict has it"},
      {"--save", "detections.jsonl, results.json and annotated images are written"},
      {"--names", "the file has its class names: lookonce export --names"},
  };
  const auto found = kInstead.find(name);
  return found == kInstead.end() ? "" : found->second;
}

const Known& find_option(const std::string& name) {
  const auto& table = known_options();
  const auto found = std::find_if(table.begin(), table.end(), [&](const Known& known) { return known.name == name; });
  if (found != table.end()) return *found;
  const std::string instead = instead_of(name);
  if (!instead.empty()) throw Error("unknown option '" + name + "'; " + instead);
  if (std::filesystem::exists(name)) throw Error("unknown option '" + name + "'; for the file write ./" + name);
  const auto nearest = std::min_element(table.begin(), table.end(), [&](const Known& a, const Known& b) {
    return edit_distance(a.name, name) < edit_distance(b.name, name);
  });
  // A typing error is one edit, or two in ten letters, as in the Python program: --weights is none of --output.
  const bool is_typo = edit_distance(nearest->name, name) <= (name.size() < std::size_t{12} ? 1U : 2U);
  throw Error("unknown option '" + name + "'; " + (is_typo ? "did you mean " + nearest->name + "?" : "see --help"));
}

/// Accepts `--batch 4`, `--batch=4`, and underscores for hyphens (`--max_detections`).
std::size_t apply_option(Options& options, const std::vector<std::string>& arguments, std::size_t at) {
  const std::string& argument = arguments[at];
  const std::size_t equals = argument.find('=');
  std::string name = argument.substr(0, equals);
  std::replace(name.begin(), name.end(), '_', '-');
  if (name == "--no-pictures") name = "--no-images";  // an earlier name, which scripts may still use
  const Known& known = find_option(name);
  if (known.value.empty()) {
    if (equals != std::string::npos) throw Error(name + " takes no value; give the option alone");
    known.apply(options, "");
    return at + 1;
  }
  if (equals != std::string::npos) {
    known.apply(options, argument.substr(equals + 1));
    return at + 1;
  }
  if (at + 1 == arguments.size()) throw Error(name + " needs a value: " + name + " " + known.value);
  known.apply(options, arguments[at + 1]);
  return at + 2;
}

}  // namespace

std::string usage() {
  std::string text =
      "Usage: lookonce-infer MODEL SOURCE... [OPTIONS]\n\n"
      "Detect objects in images and videos with an exported lookonce model. Write annotated images and videos,\n"
      "results.json (COCO) and detections.jsonl. Class names, anchors and preprocessing come from the model file.\n\n"
      "  MODEL    .onnx, .xml (OpenVINO) or .ncnn, made by `lookonce export`\n"
      "  SOURCE   an image, a folder (with its subfolders), a .txt file with one path per line, a video, or - for\n"
      "           the bytes of one image on standard input\n\n";
  for (const Known& known : known_options()) {
    std::string left = "  " + known.name + (known.value.empty() ? "" : " " + known.value);
    left.resize(std::max<std::size_t>(left.size() + 1, 24), ' ');
    text += left + known.help + "\n";
  }
  text += "  --help, --version\n\nRuntimes in this program:";
  for (const std::string& name : built_runtimes()) text += " " + name;
  return text + "\n";
}

Options parse_options(const std::vector<std::string>& arguments) {
  Options options;
  options.backend.threads = usable_threads();
  std::vector<std::string> places;
  for (std::size_t at = 0; at < arguments.size();) {
    if (arguments[at].size() > 1 && arguments[at][0] == '-') {
      at = apply_option(options, arguments, at);
    } else {
      places.push_back(arguments[at++]);
    }
  }
  if (places.size() < 2) throw Error("expected a model and at least one image, folder, list or video; see --help");
  options.model = std::filesystem::u8path(places.front());
  options.sources.assign(places.begin() + 1, places.end());
  return options;
}

}  // namespace lookonce
