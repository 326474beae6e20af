#include "check.h"
#include "lookonce/draw.h"

using namespace lookonce;

namespace {

/// The pixels of the tag over a box at (0, 20), from its first letter on: '#' ink, '.' the colour of the class.
std::string drawn(const std::string& class_name, int columns, int rows) {
  Image image(60, 40);
  draw(image, {{{0, 20, 50, 35}, 0.5F, 0}}, {class_name});
  const std::uint8_t* tag = image.row(10);
  std::string text;
  for (int y = 11; y < 11 + rows; ++y) {
    for (int x = 2; x < 2 + columns; ++x) text += image.row(y)[x * 3] == tag[0] ? '.' : '#';
    text += '\n';
  }
  return text;
}

}  // namespace

TEST(tags_are_written_in_letters_of_five_by_seven_dots_and_letters_beyond_ascii_are_boxes) {
  EQUAL(drawn("Lü", 11, 7),
        "#.....#####\n"
        "#.....#...#\n"
        "#.....#...#\n"
        "#.....#...#\n"
        "#.....#...#\n"
        "#.....#...#\n"
        "#####.#####\n");
}

TEST(a_class_without_ascii_letters_goes_by_its_number) {
  EQUAL(drawn("叶子", 35, 9), drawn("class 0", 35, 9));
}
