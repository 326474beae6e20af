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

/// Source rows resized along x, without the lowest 4 of their 11 fraction bits, which OpenCV's sum along y does not
/// look at. Each is computed once; the last two are kept.
class RowCache {
 public:
  RowCache(const Picture& picture, std::vector<Taps> columns) : picture_(picture), columns_(std::move(columns)) {
    for (auto& row : rows_) row.resize(columns_.size() * kChannels);
  }

  const std::int16_t* row(int y) {
    const auto slot = static_cast<std::size_t>(y % 2);
    if (held_[slot] != y) compute(picture_.row(y), rows_[slot].data());
    held_[slot] = y;
    return rows_[slot].data();
  }

 private:
  void compute(const std::uint8_t* source, std::int16_t* result) const {
    for (const Taps& taps : columns_) {
      const std::uint8_t* first = source + taps.first * kChannels;
      const std::uint8_t* second = source + taps.second * kChannels;
      for (int channel = 0; channel < kChannels; ++channel) {
        const int sum = first[channel] * taps.first_weight + second[channel] * taps.second_weight;
        *result++ = static_cast<std::int16_t>(sum >> 4);
      }
    }
  }

  const Picture& picture_;
  std::vector<Taps> columns_;
  std::array<int, 2> held_{-1, -1};
  std::array<std::vector<std::int16_t>, 2> rows_;
};

void resize_linear(const Picture& picture, const PixelView& target, bool area) {
  RowCache cache(picture, linear_taps(picture.width, target.width, area, true));
  const std::vector<Taps> rows = linear_taps(picture.height, target.height, area, false);
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

void resize_nearest(const Picture& picture, const PixelView& target) {
  const double scale_x = 1.0 / (static_cast<double>(target.width) / picture.width);
  const double scale_y = 1.0 / (static_cast<double>(target.height) / picture.height);
  for (int y = 0; y < target.height; ++y) {
    const std::uint8_t* source = picture.row(std::min(static_cast<int>(std::floor(y * scale_y)), picture.height - 1));
    std::uint8_t* result = target.row(y);
    for (int x = 0; x < target.width; ++x) {
      const int column = std::min(static_cast<int>(std::floor(x * scale_x)), picture.width - 1);
      std::memcpy(result + static_cast<std::ptrdiff_t>(x) * kChannels, source + column * kChannels, kChannels);
    }
  }
}

/// Both sides shrink by whole numbers: the mean of each block.
void resize_whole_blocks(const Picture& picture, const PixelView& target, int block_width, int block_height) {
  const float scale = 1.0F / static_cast<float>(block_width * block_height);
  const bool two_by_two = block_width == 2 && block_height == 2;
  for (int y = 0; y < target.height; ++y) {
    std::uint8_t* result = target.row(y);
    for (int x = 0; x < target.width * kChannels; ++x) {
      const int first = x / kChannels * block_width * kChannels + x % kChannels;
      std::int32_t sum = 0;
      for (int row = 0; row < block_height; ++row) {
        const std::uint8_t* source = picture.row(y * block_height + row) + first;
        for (int column = 0; column < block_width; ++column) sum += source[column * kChannels];
      }
      // Halves go up for two by two, to the even neighbour for other blocks.
      result[x] = two_by_two ? static_cast<std::uint8_t>((sum + 2) >> 2)
                             : to_pixel(std::lrint(static_cast<float>(sum) * scale));
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

void resize_area(const Picture& picture, const PixelView& target) {
  const std::vector<Share> columns = area_shares(picture.width, target.width);
  const std::vector<Share> rows = area_shares(picture.height, target.height);
  const std::size_t size = static_cast<std::size_t>(target.width) * kChannels;
  std::vector<float> along_x(size);
  std::vector<float> sum(size);
  for (std::size_t index = 0; index < rows.size(); ++index) {
    std::fill(along_x.begin(), along_x.end(), 0.0F);
    const std::uint8_t* source = picture.row(rows[index].source);
    for (const Share& column : columns) {
      for (int channel = 0; channel < kChannels; ++channel) {
        along_x[column.target * kChannels + channel] +=
            static_cast<float>(source[column.source * kChannels + channel]) * column.weight;
      }
    }
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

void copy_rows(const Picture& picture, const PixelView& target) {
  const std::size_t size = static_cast<std::size_t>(picture.width) * kChannels;
  for (int y = 0; y < picture.height; ++y) std::memcpy(target.row(y), picture.row(y), size);
}

}  // namespace

void resize(const Picture& picture, const PixelView& target, Interpolation interpolation) {
  if (picture.width == target.width && picture.height == target.height) return copy_rows(picture, target);
  const double scale_x = 1.0 / (static_cast<double>(target.width) / picture.width);
  const double scale_y = 1.0 / (static_cast<double>(target.height) / picture.height);
  const auto whole_x = static_cast<int>(std::lrint(scale_x));
  const auto whole_y = static_cast<int>(std::lrint(scale_y));
  const bool whole = std::abs(scale_x - whole_x) < DBL_EPSILON && std::abs(scale_y - whole_y) < DBL_EPSILON;
  // OpenCV takes the mean of each block for a linear resize to exactly half, too.
  const bool halves = interpolation == Interpolation::linear && whole && whole_x == 2 && whole_y == 2;
  const bool shrinks = scale_x >= 1 && scale_y >= 1;
  if (halves || (interpolation == Interpolation::area && shrinks && whole)) {
    return resize_whole_blocks(picture, target, whole_x, whole_y);
  }
  switch (interpolation) {
    case Interpolation::linear:
      return resize_linear(picture, target, false);
    case Interpolation::area:
      return shrinks ? resize_area(picture, target) : resize_linear(picture, target, true);
    case Interpolation::nearest:
      return resize_nearest(picture, target);
  }
}

}  // namespace lookonce
