#include "resize.h"

#include <algorithm>
#include <array>
#include <cfloat>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <vector>

namespace lookonce {
namespace {

constexpr int kChannels = 3;
constexpr int kWeightOne = 2048;  // weights have 11 bits

std::uint8_t to_pixel(long value) {
  return static_cast<std::uint8_t>(std::clamp(value, 0L, 255L));
}

/// The pixels at these columns, which ascend, of a row of `width`, side by side.
void gather(const std::uint8_t* source, int width, const std::vector<int>& columns, std::uint8_t* result) {
  // Four bytes are moved faster than three; the next pixel replaces the fourth. Three where there is none.
  std::size_t num_fast = columns.size() - 1;
  while (num_fast > 0 && columns[num_fast - 1] + 1 >= width) --num_fast;
  for (std::size_t x = 0; x < num_fast; ++x) {
    std::memcpy(result + x * kChannels, source + static_cast<std::size_t>(columns[x]) * kChannels, 4);
  }
  for (std::size_t x = num_fast; x < columns.size(); ++x) {
    std::memcpy(result + x * kChannels, source + static_cast<std::size_t>(columns[x]) * kChannels, kChannels);
  }
}

/// What a target position is made of along one axis: two source positions and their weights.
struct Taps {
  int first, second;
  std::int16_t first_weight, second_weight;
};

std::int16_t fixed_point(float weight) {
  return static_cast<std::int16_t>(std::lrint(weight * kWeightOne));
}

/// Source position of a target position and the part of a pixel beyond it.
std::pair<int, float> source_position(int target, double scale, double inverse, bool area) {
  if (!area) {
    const auto exact = static_cast<float>((target + 0.5) * scale - 0.5);
    const int whole = static_cast<int>(std::floor(exact));
    return {whole, exact - static_cast<float>(whole)};
  }
  const int whole = static_cast<int>(std::floor(target * scale));
  const auto part = static_cast<float>((target + 1) - (whole + 1) * inverse);
  return {whole, part <= 0 ? 0.0F : part - std::floor(part)};
}

/// Along x positions beyond the edge take the edge's full weight; along y each of the two is moved onto the edge.
std::vector<Taps> linear_taps(int source, int target, bool area, bool along_x) {
  const double inverse = static_cast<double>(target) / source;
  const double scale = 1.0 / inverse;
  const int last = source - 1;
  std::vector<Taps> taps;
  taps.reserve(static_cast<std::size_t>(target));
  for (int position = 0; position < target; ++position) {
    auto [first, part] = source_position(position, scale, inverse, area);
    if (along_x && (first < 0 || first >= last)) part = 0;
    taps.push_back(
        {std::clamp(first, 0, last), std::clamp(first + 1, 0, last), fixed_point(1.0F - part), fixed_point(part)});
  }
  return taps;
}

/// Of each column, which ascend, the pixel there and the one to its right (at the edge, the same), side by side.
void gather_pairs(const std::uint8_t* source, int width, const std::vector<int>& columns, std::uint8_t* here,
                  std::uint8_t* right) {
  // As in gather: four bytes are moved for three.
  std::size_t num_fast = columns.size() - 1;
  while (num_fast > 0 && columns[num_fast - 1] + 2 >= width) --num_fast;
  for (std::size_t x = 0; x < num_fast; ++x) {
    const std::uint8_t* pixel = source + static_cast<std::size_t>(columns[x]) * kChannels;
    std::memcpy(here + x * kChannels, pixel, 4);
    std::memcpy(right + x * kChannels, pixel + kChannels, 4);
  }
  for (std::size_t x = num_fast; x < columns.size(); ++x) {
    const int next = std::min(columns[x] + 1, width - 1);
    std::memcpy(here + x * kChannels, source + static_cast<std::size_t>(columns[x]) * kChannels, kChannels);
    std::memcpy(right + x * kChannels, source + static_cast<std::size_t>(next) * kChannels, kChannels);
  }
}

/// Source rows resized along x, without the lowest 4 of their 11 fraction bits, which OpenCV's sum along y does not
/// look at. Each is computed once; the last two are kept.
class RowCache {
 public:
  RowCache(const Image& image, const std::vector<Taps>& columns) : image_(image) {
    for (const Taps& taps : columns) {
      columns_.push_back(taps.first);  // the second tap is the next pixel, or has no weight
      first_.weights.insert(first_.weights.end(), kChannels, taps.first_weight);
      second_.weights.insert(second_.weights.end(), kChannels, taps.second_weight);
    }
    for (auto* bytes : {&first_.pixels, &second_.pixels}) bytes->resize(columns.size() * kChannels);
    for (auto& row : rows_) row.resize(columns.size() * kChannels);
  }

  const std::int16_t* row(int y) {
    const auto slot = static_cast<std::size_t>(y % 2);
    if (held_[slot] != y) compute(image_.row(y), rows_[slot].data());
    held_[slot] = y;
    return rows_[slot].data();
  }

 private:
  /// One of the two taps of all target positions: its weight, once for each channel, and what it reads of one row.
  struct Side {
    std::vector<std::int16_t> weights;
    std::vector<std::uint8_t> pixels;
  };

  /// First the pixels side by side, then the sums: the compiler turns these alone into vector instructions.
  void compute(const std::uint8_t* source, std::int16_t* result) {
    gather_pairs(source, image_.width, columns_, first_.pixels.data(), second_.pixels.data());
    const std::uint8_t* first = first_.pixels.data();
    const std::uint8_t* second = second_.pixels.data();
    const std::int16_t* first_weight = first_.weights.data();
    const std::int16_t* second_weight = second_.weights.data();
    const std::size_t size = first_.weights.size();
    for (std::size_t x = 0; x < size; ++x) {
      result[x] = static_cast<std::int16_t>((first[x] * first_weight[x] + second[x] * second_weight[x]) >> 4);
    }
  }

  const Image& image_;
  std::vector<int> columns_;
  Side first_, second_;
  std::array<int, 2> held_{-1, -1};
  std::array<std::vector<std::int16_t>, 2> rows_;
};

void resize_linear(const Image& image, const PixelView& target, bool area) {
  RowCache cache(image, linear_taps(image.width, target.width, area, true));
  const std::vector<Taps> rows = linear_taps(image.height, target.height, area, false);
  const int size = target.width * kChannels;
  for (int y = 0; y < target.height; ++y) {
    const Taps& taps = rows[static_cast<std::size_t>(y)];
    const std::int16_t* upper = cache.row(taps.first);
    const std::int16_t* lower = cache.row(taps.second);
    std::uint8_t* result = target.row(y);
    for (int x = 0; x < size; ++x) {
      const auto from_upper = static_cast<std::int16_t>((taps.first_weight * upper[x]) >> 16);
      const auto from_lower = static_cast<std::int16_t>((taps.second_weight * lower[x]) >> 16);
      result[x] = static_cast<std::uint8_t>(static_cast<std::int16_t>(from_upper + from_lower + 2) >> 2);
    }
  }
}

void resize_nearest(const Image& image, const PixelView& target) {
  const auto position = [](int at, int source, int target_side) {
    const double scale = 1.0 / (static_cast<double>(target_side) / source);
    return std::min(static_cast<int>(std::floor(at * scale)), source - 1);
  };
  std::vector<int> columns;
  for (int x = 0; x < target.width; ++x) columns.push_back(position(x, image.width, target.width));
  for (int y = 0; y < target.height; ++y) {
    gather(image.row(position(y, image.height, target.height)), image.width, columns, target.row(y));
  }
}

/// Both sides shrink to exactly half: the mean of each two by two, halves up.
void resize_to_half(const Image& image, const PixelView& target) {
  std::vector<std::uint16_t> sums(static_cast<std::size_t>(image.width) * kChannels);  // of two rows
  for (int y = 0; y < target.height; ++y) {
    const std::uint8_t* upper = image.row(2 * y);
    const std::uint8_t* lower = image.row(2 * y + 1);
    for (std::size_t x = 0; x < sums.size(); ++x) sums[x] = static_cast<std::uint16_t>(upper[x] + lower[x]);
    std::uint8_t* result = target.row(y);
    const std::uint16_t* pair = sums.data();
    for (int x = 0; x < target.width; ++x, pair += 2 * kChannels, result += kChannels) {
      for (int channel = 0; channel < kChannels; ++channel) {
        result[channel] = static_cast<std::uint8_t>((pair[channel] + pair[kChannels + channel] + 2) >> 2);
      }
    }
  }
}

/// Both sides shrink by whole numbers: the mean of each block, halves to the even neighbour.
void resize_whole_blocks(const Image& image, const PixelView& target, int block_width, int block_height) {
  const float scale = 1.0F / static_cast<float>(block_width * block_height);
  std::vector<std::int32_t> sums(static_cast<std::size_t>(target.width * block_width * kChannels));  // of some rows
  for (int y = 0; y < target.height; ++y) {
    std::fill(sums.begin(), sums.end(), 0);
    for (int row = 0; row < block_height; ++row) {
      const std::uint8_t* source = image.row(y * block_height + row);
      for (std::size_t x = 0; x < sums.size(); ++x) sums[x] += source[x];
    }
    std::uint8_t* result = target.row(y);
    const std::int32_t* block = sums.data();
    for (int x = 0; x < target.width; ++x, block += block_width * kChannels, result += kChannels) {
      for (int channel = 0; channel < kChannels; ++channel) {
        std::int32_t sum = 0;
        for (int column = 0; column < block_width; ++column) sum += block[column * kChannels + channel];
        result[channel] = to_pixel(std::lrint(static_cast<float>(sum) * scale));
      }
    }
  }
}

/// A source position that takes part in a target position, with its share of it.
struct Share {
  int source, target;
  float weight;
};

/// OpenCV's computeResizeAreaTab.
std::vector<Share> area_shares(int source, int target) {
  constexpr double kSliver = 1e-3;  // of a pixel: thinner edges do not take part
  const double scale = 1.0 / (static_cast<double>(target) / source);
  std::vector<Share> shares;
  for (int position = 0; position < target; ++position) {
    const double begin = position * scale;
    const double end = begin + scale;
    const double width = std::min(scale, source - begin);
    const int last_whole = std::min(static_cast<int>(std::floor(end)), source - 1);
    const int first_whole = std::min(static_cast<int>(std::ceil(begin)), last_whole);
    if (first_whole - begin > kSliver) {
      shares.push_back({first_whole - 1, position, static_cast<float>((first_whole - begin) / width)});
    }
    for (int whole = first_whole; whole < last_whole; ++whole) {
      shares.push_back({whole, position, static_cast<float>(1.0 / width)});
    }
    if (end - last_whole > kSliver) {
      const double part = std::min(std::min(end - last_whole, 1.0), width);
      shares.push_back({last_whole, position, static_cast<float>(part / width)});
    }
  }
  return shares;
}

void shrink_along_x(const std::uint8_t* source, const std::vector<Share>& columns, float* result) {
  std::array<float, kChannels> sums{};
  for (const Share& column : columns) {
    for (int channel = 0; channel < kChannels; ++channel) {
      sums[channel] += static_cast<float>(source[column.source * kChannels + channel]) * column.weight;
    }
    if (&column != &columns.back() && (&column + 1)->target == column.target) continue;
    result = std::copy(sums.begin(), sums.end(), result);
    sums.fill(0);
  }
}

void resize_area(const Image& image, const PixelView& target) {
  const std::vector<Share> columns = area_shares(image.width, target.width);
  const std::vector<Share> rows = area_shares(image.height, target.height);
  const std::size_t size = static_cast<std::size_t>(target.width) * kChannels;
  std::vector<float> along_x(size);
  std::vector<float> sum(size);
  for (std::size_t index = 0; index < rows.size(); ++index) {
    shrink_along_x(image.row(rows[index].source), columns, along_x.data());
    const bool begins = index == 0 || rows[index - 1].target != rows[index].target;
    for (std::size_t x = 0; x < size; ++x) {
      sum[x] = begins ? along_x[x] * rows[index].weight : sum[x] + along_x[x] * rows[index].weight;
    }
    if (index + 1 == rows.size() || rows[index + 1].target != rows[index].target) {
      std::uint8_t* result = target.row(rows[index].target);
      for (std::size_t x = 0; x < size; ++x) result[x] = to_pixel(std::lrint(sum[x]));
    }
  }
}

void copy_rows(const Image& image, const PixelView& target) {
  const std::size_t size = static_cast<std::size_t>(image.width) * kChannels;
  for (int y = 0; y < image.height; ++y) std::memcpy(target.row(y), image.row(y), size);
}

}  // namespace

void resize(const Image& image, const PixelView& target, Interpolation interpolation) {
  if (image.width == target.width && image.height == target.height) return copy_rows(image, target);
  const double scale_x = 1.0 / (static_cast<double>(target.width) / image.width);
  const double scale_y = 1.0 / (static_cast<double>(target.height) / image.height);
  const auto whole_x = static_cast<int>(std::lrint(scale_x));
  const auto whole_y = static_cast<int>(std::lrint(scale_y));
  const bool whole = std::abs(scale_x - whole_x) < DBL_EPSILON && std::abs(scale_y - whole_y) < DBL_EPSILON;
  const bool shrinks = scale_x >= 1 && scale_y >= 1;
  // OpenCV takes the mean of each block for a linear resize to exactly half, too.
  if (interpolation != Interpolation::nearest && whole && whole_x == 2 && whole_y == 2) {
    return resize_to_half(image, target);
  }
  if (interpolation == Interpolation::area && shrinks && whole) {
    return resize_whole_blocks(image, target, whole_x, whole_y);
  }
  switch (interpolation) {
    case Interpolation::linear:
      return resize_linear(image, target, false);
    case Interpolation::area:
      return shrinks ? resize_area(image, target) : resize_linear(image, target, true);
    case Interpolation::nearest:
      return resize_nearest(image, target);
  }
}

}  // namespace lookonce
