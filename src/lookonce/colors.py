"""The colours of classes, the same in every image, report and page, and of the text on them."""

import colorsys

Color = tuple[int, int, int]  # red, green, blue, 0..255

# Colours of the first classes: bright, distinct, no browns or greys, which are common in photographs.
FIRST_COLORS: tuple[Color, ...] = (
    (30, 140, 255),  # azure
    (255, 140, 0),  # orange
    (0, 205, 110),  # green
    (235, 50, 170),  # magenta
    (255, 215, 0),  # yellow
    (150, 90, 255),  # violet
    (0, 205, 225),  # cyan
    (240, 50, 50),  # red
    (160, 225, 40),  # lime
    (255, 130, 190),  # pink
)
GOLDEN_TURN = 0.61803398875  # hue step in turns: consecutive classes have distinct hues, for any number of classes
WHITE, BLACK = (255, 255, 255), (16, 16, 16)


def class_color(label: int) -> Color:
    """The colour of a class."""
    if label < len(FIRST_COLORS):
        return FIRST_COLORS[label]
    brightness, saturation = ((0.95, 0.80), (0.75, 0.95), (1.0, 0.50))[label // 8 % 3]
    red, green, blue = colorsys.hsv_to_rgb(label * GOLDEN_TURN % 1, saturation, brightness)
    return round(red * 255), round(green * 255), round(blue * 255)


def text_color(background: Color) -> Color:
    """Black or white, whichever has the higher contrast (relative luminance and contrast of WCAG 2.2)."""
    luminance = _luminance(background)
    contrast_white, contrast_black = 1.05 / (luminance + 0.05), (luminance + 0.05) / (_luminance(BLACK) + 0.05)
    return WHITE if contrast_white >= contrast_black else BLACK


def _luminance(color: Color) -> float:
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in (c / 255 for c in color)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def css_color(color: Color) -> str:
    """`#rrggbb`."""
    return "#{:02x}{:02x}{:02x}".format(*color)


def css_class_color(label: int) -> str:
    return css_color(class_color(label))
