#include "lookonce/draw.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

#include "font.h"

namespace lookonce {
namespace {

using Color = std::array<std::uint8_t, 3>;

constexpr Color kWhite{255, 255, 255};
constexpr Color kBlack{16, 16, 16};

struct Rectangle {
  int left, top, right, bottom;  // right and bottom outside
};

Color from_hsv(double hue, double saturation, double value) {
  const double sixth = hue * 6;
  const double part = sixth - std::floor(sixth);
  const double p = value * (1 - saturation);
  const double q = value * (1 - saturation * part);
  const double t = value * (1 - saturation * (1 - part));
  const std::array<std::array<double, 3>, 6> rgb{
      {{value, t, p}, {q, value, p}, {p, value, t}, {p, q, value}, {t, p, value}, {value, p, q}}};
  const auto& chosen = rgb[static_cast<std::size_t>(sixth) % 6];
  Color color{};
  std::transform(chosen.begin(), chosen.end(), color.begin(),
                 [](double part_of_one) { return static_cast<std::uint8_t>(std::lrint(part_of_one * 255)); });
  return color;
}

/// The colour of a class, always the same, and the same as in Python.
Color class_color(int label) {
  constexpr std::array<Color, 10> kFirst{{{30, 140, 255},
                                          {255, 140, 0},
                                          {0, 205, 110},
                                          {235, 50, 170},
                                          {255, 215, 0},
                                          {150, 90, 255},
                                          {0, 205, 225},
                                          {240, 50, 50},
                                          {160, 225, 40},
                                          {255, 130, 190}}};
  if (label < static_cast<int>(kFirst.size())) return kFirst[static_cast<std::size_t>(label)];
  constexpr double kGoldenTurn = 0.61803398875;
  constexpr std::array<std::array<double, 2>, 3> kTones{{{0.95, 0.80}, {0.75, 0.95}, {1.0, 0.50}}};
  const auto& [value, saturation] = kTones[static_cast<std::size_t>(label / 8 % 3)];
  return from_hsv(std::fmod(label * kGoldenTurn, 1.0), saturation, value);
}

double luminance(const Color& color) {
  constexpr std::array<double, 3> kWeights{0.2126, 0.7152, 0.0722};
  double sum = 0;
  for (std::size_t channel = 0; channel < 3; ++channel) {
    const double part = color[channel] / 255.0;
    sum += kWeights[channel] * (part <= 0.04045 ? part / 12.92 : std::pow((part + 0.055) / 1.055, 2.4));
  }
  return sum;
}

/// Black or white, whichever stands out more (relative luminance and contrast of WCAG 2.2).
Color text_color(const Color& background) {
  const double light = luminance(background) + 0.05;
  return 1.05 / light >= light / (luminance(kBlack) + 0.05) ? kWhite : kBlack;
}

void fill(Image& image, const Rectangle& where, const Color& color) {
  for (int y = std::max(0, where.top); y < std::min(image.height, where.bottom); ++y) {
    for (int x = std::max(0, where.left); x < std::min(image.width, where.right); ++x) {
      std::copy(color.begin(), color.end(), image.row(y) + static_cast<std::ptrdiff_t>(x) * 3);
    }
  }
}

/// The pixels whose outer edges are the box, at least one, inside the image.
Rectangle whole_pixels(const BoxXyxy& box, const Image& image) {
  const int left = std::clamp(static_cast<int>(std::lrint(box.left)), 0, image.width - 1);
  const int top = std::clamp(static_cast<int>(std::lrint(box.top)), 0, image.height - 1);
  return {left, top, std::clamp(static_cast<int>(std::lrint(box.right)), left + 1, image.width),
          std::clamp(static_cast<int>(std::lrint(box.bottom)), top + 1, image.height)};
}

void draw_box(Image& image, const Rectangle& box, const Color& color, int line) {
  fill(image, {box.left, box.top, box.right, std::min(box.top + line, box.bottom)}, color);
  fill(image, {box.left, std::max(box.bottom - line, box.top), box.right, box.bottom}, color);
  fill(image, {box.left, box.top, std::min(box.left + line, box.right), box.bottom}, color);
  fill(image, {std::max(box.right - line, box.left), box.top, box.right, box.bottom}, color);
}

/// One letter a character of `text`, which is UTF-8; a box for those that the font lacks.
std::string in_letters(const std::string& text) {
  std::string letters;
  for (const char byte : text) {
    const bool continues = (static_cast<unsigned char>(byte) & 0xC0U) == 0x80U;
    if (!continues) letters += byte >= ' ' && byte <= '~' ? byte : kBoxLetter;
  }
  return letters;
}

/// `dot`: the side in pixels of one of the squares that letters consist of.
void draw_letter(Image& image, char letter, std::pair<int, int> left_top, int dot, const Color& color) {
  for (int row = 0; row < kGlyphRows; ++row) {
    for (int column = 0; column < kGlyphColumns; ++column) {
      if (!has_ink(letter, column, row)) continue;
      const int left = left_top.first + column * dot;
      const int top = left_top.second + row * dot;
      fill(image, {left, top, left + dot, top + dot}, color);
    }
  }
}

/// On the box, or inside it where there is no room above; moved into the image from the right.
void draw_tag(Image& image, const Rectangle& box, const std::string& letters, const Color& color, int dot) {
  const int advance = (kGlyphColumns + 1) * dot;
  const int width = static_cast<int>(letters.size()) * advance + 2 * dot;
  const int height = (kGlyphRows + 2) * dot;
  const int left = std::max(0, std::min(box.left, image.width - width));
  const int top = box.top >= height ? box.top - height : box.top;
  fill(image, {left, top, left + width, top + height}, color);
  int x = left + 2 * dot;
  for (const char letter : letters) {
    draw_letter(image, letter, {x, top + 2 * dot}, dot, text_color(color));
    x += advance;
  }
}

std::string tag_text(const Detection& detection, const std::vector<std::string>& class_names) {
  const std::string& name = class_names[static_cast<std::size_t>(detection.label)];
  const bool legible = std::any_of(name.begin(), name.end(), [](char byte) { return byte > ' ' && byte <= '~'; });
  std::array<char, 16> score{};
  std::snprintf(score.data(), score.size(), " %.2f", static_cast<double>(detection.score));
  return in_letters(legible ? name : "class " + std::to_string(detection.label)) + score.data();
}

}  // namespace

void draw(Image& image, const Detections& detections, const std::vector<std::string>& class_names) {
  const double side = std::sqrt(static_cast<double>(image.width) * image.height);
  const int line = std::max(1, static_cast<int>(std::lrint(side / 300)));
  const int dot = std::max(1, static_cast<int>(std::lrint(side / 400)));
  for (auto worst = detections.rbegin(); worst != detections.rend(); ++worst) {
    draw_box(image, whole_pixels(worst->box, image), class_color(worst->label), line);
  }
  for (auto worst = detections.rbegin(); worst != detections.rend(); ++worst) {
    draw_tag(image, whole_pixels(worst->box, image), tag_text(*worst, class_names), class_color(worst->label), dot);
  }
}

}  // namespace lookonce
