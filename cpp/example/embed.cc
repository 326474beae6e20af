// The objects in one image, from a program of your own: embed MODEL IMAGE.

#include <cstdio>
#include <exception>

#include "lookonce/detector.h"

int main(int argc, char** argv) {
  if (argc != 3) return std::fprintf(stderr, "usage: embed MODEL IMAGE\n"), 2;
  try {
    const auto backend = lookonce::open_backend(argv[1], {});
    lookonce::Detector detector(*backend);
    const lookonce::Image image = lookonce::read_image(argv[2]);
    for (const lookonce::Detection& found : detector.detect(image)) {
      std::printf("%s %.2f at %.0f, %.0f to %.0f, %.0f\n", backend->record().class_names[found.label].c_str(),
                  found.score, found.box.left, found.box.top, found.box.right, found.box.bottom);
    }
    return 0;
  } catch (const std::exception& error) {
    return std::fprintf(stderr, "%s\n", error.what()), 1;
  }
}
