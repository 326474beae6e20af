// Every image of tests/images gives the pixels that the Python reader gave when they were made (make_images.py).

#include <cstdlib>
#include <filesystem>
#include <string>

#include "check.h"
#include "lookonce/images.h"

using namespace lookonce;
using namespace lookonce::tests;

namespace {

namespace fs = std::filesystem;

const fs::path kFolder = LOOKONCE_TEST_IMAGES;

std::string pixels_of(const Image& image) {
  return "P6 " + std::to_string(image.width) + " " + std::to_string(image.height) + " 255\n" +
         std::string(image.pixels.begin(), image.pixels.end());
}

/// A PNG file's first 33 bytes, of that size; their check sum is wrong.
std::string png_header(const std::string& width_height) {
  return std::string("\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR", 16) + width_height + std::string("\x08\x02\0\0\0\0\0\0\0", 9);
}

}  // namespace

TEST(images_of_every_kind_give_the_pixels_that_python_reads) {
  int compared = 0;
  std::string different;
  for (const auto& entry : fs::directory_iterator(kFolder)) {
    if (entry.path().extension() == ".ppm") continue;
    const fs::path expected = entry.path().string() + ".ppm";
    if (pixels_of(read_image(entry.path())) != read_file(expected)) different += " " + entry.path().string();
    ++compared;
  }
  EQUAL(different, "");
  EQUAL(compared >= 30, true);
}

TEST(what_is_no_image_is_named_with_the_bytes_it_starts_with) {
  CONTAINS(error_of([] { decode_image("", "a.jpg"); }), "a.jpg: is empty");
  CONTAINS(error_of([] { decode_image("hello\x01", "a.jpg"); }), "it starts with 'hello\\x01'");
  for (const char* start : {"GIF89a", "BM6", "P6 2 2 255\n", "II*"}) {
    CONTAINS(error_of([&] { decode_image(start, "a"); }), "save it as PNG or JPEG");
  }
  CONTAINS(error_of([] { read_image("/no/such.jpg"); }), "/no/such.jpg: no such file");
}

TEST(a_file_that_ends_early_is_an_error_wherever_it_ends) {
  for (const char* name : {"rgb.jpg", "rgb.png", "rgb.webp"}) {
    const std::string whole = read_file(kFolder / name);
    for (std::size_t size = 3; size + 1 < whole.size(); size += 7) {
      error_of([&] { decode_image(whole.substr(0, size), name); });
    }
  }
}

TEST(a_bomb_is_refused_by_its_header) {
  const std::string header("\xff\xd8\xff\xc0\0\x11\x08\xff\xff\xff\xff\x03\x01\x11\0\x02\x11\0\x03\x11\0\xff\xda\0\x02",
                           25);
  CONTAINS(error_of([&] { decode_image(header, "bomb.jpg"); }), "65535x65535");
  CONTAINS(error_of([&] { decode_image(png_header(std::string("\0\0\x40\0\0\0\x40\0", 8)), "b.png"); }), "b.png");
}

TEST(the_environment_sets_the_most_pixels_of_an_image) {
  const std::string image = read_file(kFolder / "rgb.png");
  const auto under = [&](const char* limit) {
    setenv("LOOKONCE_MAX_PIXELS", limit, 1);
    const std::string error = error_of([&] { decode_image(image, "rgb.png"); });
    unsetenv("LOOKONCE_MAX_PIXELS");
    return error;
  };
  CONTAINS(under("2"), "expected at most 2");
  for (const char* wrong : {"0", "-1", "many", "1e6", "178956971", "99999999999999999999"}) {
    CONTAINS(under(wrong), std::string("LOOKONCE_MAX_PIXELS: '") + wrong);
  }
}

TEST(drawings_can_be_read_again) {
  Image image(5, 3);
  image.pixels.assign(image.pixels.size(), 77);
  EQUAL(pixels_of(decode_image(encode_image(image, ".PNG"), "x")), pixels_of(image));
  EQUAL(decode_image(encode_image(image, ".jpg"), "x").width, 5);
}
