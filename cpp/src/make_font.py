"""Writes font.cc, the letters of drawn tags, from the font inside Pillow (Aileron, in the public domain by CC0).

./run python cpp/src/make_font.py > cpp/src/font.cc
"""

import sys

import numpy as np
from PIL import Image, ImageDraw, ImageFont

ROWS = 24
SIZE = 21


def main() -> None:
    font = ImageFont.load_default(SIZE)
    top, bottom = font.getbbox("Ag|")[1::2]
    assert bottom - top <= ROWS
    parts = [
        "// Made by make_font.py from Aileron (CC0); not to be edited.\n",
        '#include "font.h"\n\nnamespace lookonce {\n\nconst std::array<Glyph, kNumGlyphs> kGlyphs{{',
    ]
    for code in range(32, 127):
        columns = max(1, round(font.getlength(chr(code))))
        image = Image.new("L", (columns, ROWS))
        ImageDraw.Draw(image).text((0, -top), chr(code), fill=255, font=font)
        levels = np.rint(np.asarray(image) / 17).astype(int)
        ink = "".join(chr(ord("a") + level) for level in levels.ravel())
        lines = [f'     "{ink[start : start + 100]}"' for start in range(0, len(ink), 100)]
        parts += [f"    {{{columns},", "\n".join(lines) + "},"]
    parts.append("}};\n\n}  // namespace lookonce\n")
    sys.stdout.write("\n".join(parts))


main()
