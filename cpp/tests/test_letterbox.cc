#include <vector>

#include "check.h"
#include "lookonce/letterbox.h"

using namespace lookonce;

namespace {

Record record_of(int width, int height) {
  Record record;
  record.width = width;
  record.height = height;
  return record;
}

Image filled(int width, int height, std::uint8_t value) {
  Image image(width, height);
  image.pixels.assign(image.pixels.size(), value);
  return image;
}

}  // namespace

TEST(the_letterbox_is_as_large_as_fits_and_halves_round_up) {
  EQUAL((letterbox_wh({640, 480}, {416, 416}) == std::pair(416, 312)), true);
  EQUAL((letterbox_wh({480, 640}, {416, 416}) == std::pair(312, 416)), true);
  EQUAL((letterbox_wh({64, 1}, {32, 32}) == std::pair(32, 1)), true);  // half a pixel high
  EQUAL((letterbox_wh({10'000, 1}, {32, 32}) == std::pair(32, 1)), true);
}

TEST(the_image_lies_in_the_middle_and_the_odd_pixel_of_padding_is_right_or_below) {
  Record record = record_of(8, 8);
  std::vector<std::uint8_t> canvas(8 * 8 * 3);
  const Placement placement = fit_into(canvas.data(), filled(8, 5, 200), record);
  EQUAL(placement.offset_y, 1.0F);
  EQUAL(static_cast<int>(canvas[0]), 114);       // row 0: padding
  EQUAL(static_cast<int>(canvas[1 * 24]), 200);  // rows 1..5: the image
  EQUAL(static_cast<int>(canvas[5 * 24 + 23]), 200);
  EQUAL(static_cast<int>(canvas[6 * 24]), 114);  // rows 6 and 7: padding
}

TEST(stretching_fills_the_canvas) {
  Record record = record_of(8, 4);
  record.preprocessing.resize = Resize::stretch;
  std::vector<std::uint8_t> canvas(8 * 4 * 3);
  const Placement placement = fit_into(canvas.data(), filled(4, 4, 9), record);
  EQUAL(placement.scale_x, 2.0F);
  EQUAL(placement.scale_y, 1.0F);
  EQUAL((canvas == std::vector<std::uint8_t>(canvas.size(), 9)), true);
}

TEST(half_the_size_is_the_mean_of_each_block_with_halves_up) {
  Image image(2, 2);
  image.pixels = {1, 10, 0, 2, 10, 0, 3, 10, 0, 4, 11, 1};
  std::vector<std::uint8_t> canvas(3);
  fit_into(canvas.data(), image, record_of(1, 1));
  EQUAL((canvas == std::vector<std::uint8_t>{3, 10, 0}), true);  // 10 / 4 = 2.5; 41 / 4 = 10.25; 1 / 4
}

TEST(boxes_come_back_to_the_image_and_end_at_its_edges) {
  const Placement placement{0.5F, 0.5F, 0, 4, 100, 60};
  const BoxXyxy box = placement.to_original({-3, 5, 10, 50});
  EQUAL(box.left, 0.0F);
  EQUAL(box.top, 2.0F);
  EQUAL(box.right, 20.0F);
  EQUAL(box.bottom, 60.0F);
}

TEST(network_input_is_planar_normalised_and_in_the_order_of_the_record) {
  Record record = record_of(2, 1);
  record.preprocessing.color_order = ColorOrder::bgr;
  record.preprocessing.mean = {0.5F, 0, 0};
  record.preprocessing.std = {0.5F, 1, 1};
  const std::vector<std::uint8_t> canvas{255, 0, 51, 0, 0, 255};  // two pixels, RGB
  std::vector<float> input(6);
  to_network_input(canvas.data(), 1, record, input.data());
  NEAR(input[0], (0.2 - 0.5) / 0.5, 1e-6);  // blue of the first pixel
  NEAR(input[1], 1, 1e-6);
  NEAR(input[4], 1, 1e-6);  // red of the first pixel, in the last plane
  NEAR(input[5], 0, 1e-6);
}
