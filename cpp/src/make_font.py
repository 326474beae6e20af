"""Writes font.cc, the letters of drawn tags, from the font inside Pillow (Aileron, dedicated to the public domain, CC0).

    ./run python cpp/src/make_font.py > cpp/src/font.cc
"""

import numpy as np
from PIL import Image, ImageDraw, ImageFont

ROWS = 24
SIZE = 21


def main() -> None:
    font = ImageFont.load_default(SIZE)
    top, bottom = font.getbbox("Ag|")[1::2]
    assert bottom - top <= ROWS
    print("// Made by make_font.py from Aileron (CC0); not to be edited.\n")
    print('#include "font.h"\n\nnamespace lookonce {\n\nconst std::array<Glyph, kNumGlyphs> kGlyphs{{')
    for code in range(32, 127):
        columns = max(1, round(font.getlength(chr(code))))
        image = Image.new("L", (columns, ROWS))
        ImageDraw.Draw(image).text((0, -top), chr(code), fill=255, font=font)
        levels = np.rint(np.asarray(image) / 17).astype(int)
        ink = "".join(chr(ord("a") + level) for level in levels.ravel())
        lines = [ink[start : start + 100] for start in range(0, len(ink), 100)]
        print(f"    {{{columns},")
        print("\n".join(f'     "{line}"' for line in lines) + "},")
    print("}};\n\n}  // namespace lookonce")


main()
