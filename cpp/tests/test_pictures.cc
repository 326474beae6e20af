// Every picture of tests/pictures gives the pixels that the Python reader gave when they were made (make_pictures.py).

#include <filesystem>
#include <string>

#include "check.h"
#include "lookonce/pictures.h"

using namespace lookonce;
using namespace lookonce::tests;

namespace {

namespace fs = std::filesystem;

const fs::path kFolder = LOOKONCE_TEST_PICTURES;

std::string pixels_of(const Picture& picture) {
  return "P6 " + std::to_string(picture.width) + " " + std::to_string(picture.height) + " 255\n" +
         std::string(picture.pixels.begin(), picture.pixels.end());
}

/// A PNG file's first 33 bytes, of that size; their check sum is wrong.
std::string png_header(const std::string& width_height) {
  return std::string("\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR", 16) + width_height + std::string("\x08\x02\0\0\0\0\0\0\0", 9);
}

}  // namespace

TEST(pictures_of_every_kind_give_the_pixels_that_python_reads) {
  int compared = 0;
  std::string different;
  for (const auto& entry : fs::directory_iterator(kFolder)) {
    if (entry.path().extension() == ".ppm") continue;
    const fs::path expected = entry.path().string() + ".ppm";
    if (pixels_of(read_picture(entry.path())) != read_file(expected)) different += " " + entry.path().string();
    ++compared;
  }
  EQUAL(different, "");
  EQUAL(compared >= 30, true);
}

TEST(what_is_no_picture_is_named_with_the_bytes_it_starts_with) {
  CONTAINS(error_of([] { decode_picture("", "a.jpg"); }), "a.jpg: is empty");
  CONTAINS(error_of([] { decode_picture("hello\x01", "a.jpg"); }), "it starts with 'hello\\x01'");
  CONTAINS(error_of([] { decode_picture("GIF89a", "a.gif"); }), "save it as PNG or JPEG");
  CONTAINS(error_of([] { read_picture("/no/such.jpg"); }), "/no/such.jpg: no such file");
}

TEST(a_file_that_ends_early_is_an_error_wherever_it_ends) {
  for (const char* name : {"rgb.jpg", "rgb.png", "rgb.webp", "rgb.bmp", "rgb.pnm"}) {
    const std::string whole = read_file(kFolder / name);
    for (std::size_t size = 3; size + 1 < whole.size(); size += 7) {
      error_of([&] { decode_picture(whole.substr(0, size), name); });
    }
  }
}

TEST(a_bomb_is_refused_by_its_header) {
  const std::string header("\xff\xd8\xff\xc0\0\x11\x08\xff\xff\xff\xff\x03\x01\x11\0\x02\x11\0\x03\x11\0\xff\xda\0\x02",
                           25);
  CONTAINS(error_of([&] { decode_picture(header, "bomb.jpg"); }), "65535x65535 is 4294836225 pixels");
  CONTAINS(error_of([] { decode_picture("P6 99999 99999 255\n", "b.ppm"); }), "99999x99999");
  CONTAINS(error_of([] { decode_picture("P1 9999 9999\n1", "b.pbm"); }), "truncated PNM");
  CONTAINS(error_of([&] { decode_picture(png_header(std::string("\0\0\x40\0\0\0\x40\0", 8)), "b.png"); }), "b.png");
}

TEST(drawings_can_be_read_again) {
  Picture picture(5, 3);
  picture.pixels.assign(picture.pixels.size(), 77);
  EQUAL(pixels_of(decode_picture(encode_picture(picture, ".PNG"), "x")), pixels_of(picture));
  EQUAL(decode_picture(encode_picture(picture, ".jpg"), "x").width, 5);
}
