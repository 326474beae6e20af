// ONNX Runtime in C++17: with_onnxruntime MODEL.onnx IMAGE.ppm
//
//   c++ -std=c++17 -O2 -Iort/include with_onnxruntime.cc -Lort/lib -lonnxruntime -o with_onnxruntime
//
// ort: a release of ONNX Runtime (headers and library); nlohmann/json.hpp: Debian's nlohmann-json3-dev. Any decoder that
// gives RGB bytes can take the place of the .ppm.

#include <onnxruntime_cxx_api.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <vector>

using Json = nlohmann::json;

struct Image {
  int width = 0, height = 0;
  std::vector<std::uint8_t> rgb;
};

Image read_ppm(const char* path) {
  std::ifstream file(path, std::ios::binary);
  std::string kind;
  int most = 0;
  Image image;
  file >> kind >> image.width >> image.height >> most;
  file.get();  // the one white space before the pixels
  if (kind != "P6" || most != 255) {
    throw std::runtime_error("expected a binary .ppm of 8 bits; made by: convert photo.jpg photo.ppm");
  }
  image.rgb.resize(static_cast<std::size_t>(image.width) * image.height * 3);
  file.read(reinterpret_cast<char*>(image.rgb.data()), static_cast<std::streamsize>(image.rgb.size()));
  return image;
}

// The two source positions of a target position and their weights, in 1/2048.
struct Taps {
  int first, second, first_weight, second_weight;
};

std::vector<Taps> taps_of(int source, int target, bool clamps_weight) {
  std::vector<Taps> taps;
  const double scale = 1.0 / (static_cast<double>(target) / source);
  const int last = source - 1;
  for (int position = 0; position < target; ++position) {
    const auto exact = static_cast<float>((position + 0.5) * scale - 0.5);
    const int first = static_cast<int>(std::floor(exact));
    float part = exact - static_cast<float>(first);
    if (clamps_weight && (first < 0 || first >= last)) part = 0;
    taps.push_back({std::clamp(first, 0, last), std::clamp(first + 1, 0, last),
                    static_cast<int>(std::lrint((1.0F - part) * 2048)), static_cast<int>(std::lrint(part * 2048))});
  }
  return taps;
}

// Bilinear, as OpenCV's INTER_LINEAR computes it for bytes.
Image resize(const Image& image, int width, int height) {
  if (width == image.width && height == image.height) return image;
  Image result{width, height, std::vector<std::uint8_t>(static_cast<std::size_t>(width) * height * 3)};
  const bool is_half = image.width == 2 * width && image.height == 2 * height;
  const auto columns = taps_of(image.width, width, true), rows = taps_of(image.height, height, false);
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      for (int channel = 0; channel < 3; ++channel) {
        const auto at = [&](int row, int column) -> int { return image.rgb[(row * image.width + column) * 3 + channel]; };
        const Taps &row = rows[y], &column = columns[x];
        const auto along = [&](int line) {
          return (at(line, column.first) * column.first_weight + at(line, column.second) * column.second_weight) >> 4;
        };
        result.rgb[(y * width + x) * 3 + channel] = static_cast<std::uint8_t>(
            is_half ? (at(2 * y, 2 * x) + at(2 * y, 2 * x + 1) + at(2 * y + 1, 2 * x) + at(2 * y + 1, 2 * x + 1) + 2) >> 2
                    : (((row.first_weight * along(row.first)) >> 16) + ((row.second_weight * along(row.second)) >> 16) + 2) >> 2);
      }
    }
  }
  return result;
}

int main(int argc, char** argv) try {
  if (argc != 3) throw std::runtime_error("usage: with_onnxruntime MODEL.onnx IMAGE.ppm");
  std::ifstream file(argv[1], std::ios::binary);
  const std::vector<char> bytes(std::istreambuf_iterator<char>(file), {});
  Ort::Env env(ORT_LOGGING_LEVEL_WARNING);
  // From bytes: from a path, ONNX Runtime may load other files as weights.
  Ort::Session session(env, bytes.data(), bytes.size(), Ort::SessionOptions{});
  Ort::AllocatorWithDefaultOptions allocator;
  const Json record =
      Json::parse(session.GetModelMetadata().LookupCustomMetadataMapAllocated("lookonce_record", allocator).get());

  // The letterbox: docs/export.md.
  const Image image = read_ppm(argv[2]);
  const Json& how = record["preprocessing"];
  if (how["interpolation"] != "linear") throw std::runtime_error("expected interpolation linear");
  const int H = record["image_size"][0], W = record["image_size"][1];
  const std::int64_t w = image.width, h = image.height;
  std::int64_t fitted_w = W, fitted_h = H;
  if (how["resize"] == "letterbox") {
    if (W * h <= H * w) {
      fitted_h = std::max<std::int64_t>(1, (2 * h * W + w) / (2 * w));  // h * W / w, halves up
    } else {
      fitted_w = std::max<std::int64_t>(1, (2 * w * H + h) / (2 * h));
    }
  }
  const std::int64_t left = (W - fitted_w) / 2, top = (H - fitted_h) / 2;
  const Image resized = resize(image, static_cast<int>(fitted_w), static_cast<int>(fitted_h));
  std::vector<std::uint8_t> canvas(static_cast<std::size_t>(H) * W * 3, how["pad_value"].get<std::uint8_t>());
  for (std::int64_t y = 0; y < fitted_h; ++y) {
    std::copy_n(&resized.rgb[y * fitted_w * 3], fitted_w * 3, &canvas[((top + y) * W + left) * 3]);
  }

  const std::int64_t shape[] = {1, H, W, 3};
  const auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
  const auto input = Ort::Value::CreateTensor<std::uint8_t>(memory, canvas.data(), canvas.size(), shape, 4);
  const char* inputs[] = {"images"};
  const char* outputs[] = {"boxes_xyxy", "scores", "labels"};
  auto found = session.Run(Ort::RunOptions{}, inputs, &input, 1, outputs, 3);
  const auto* boxes = found[0].GetTensorData<float>();
  const auto* scores = found[1].GetTensorData<float>();
  const auto* labels = found[2].GetTensorData<std::int64_t>();
  const double scale_x = static_cast<double>(fitted_w) / w, scale_y = static_cast<double>(fitted_h) / h;
  for (std::size_t row = 0; row < found[1].GetTensorTypeAndShapeInfo().GetElementCount(); ++row) {
    const auto x = [&](int side) { return std::clamp((boxes[4 * row + side] - left) / scale_x, 0.0, double(w)); };
    const auto y = [&](int side) { return std::clamp((boxes[4 * row + side] - top) / scale_y, 0.0, double(h)); };
    if (x(2) <= x(0) || y(3) <= y(1)) continue;  // no area inside the image
    const std::string name = record["class_names"][labels[row]];
    std::printf("%.6f %.3f %.3f %.3f %.3f %s\n", scores[row], x(0), y(1), x(2), y(3), name.c_str());
  }
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
