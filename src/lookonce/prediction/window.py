"""The window of `predict --show`, by Python's tkinter: our OpenCV is the headless one, which has no windows."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lookonce.errors import SettingsError

PART_OF_SCREEN = 0.9


class Window:
    """One window that shows one image after another. SettingsError if it cannot be opened."""

    def __init__(self, title: str) -> None:
        self.is_open = True
        try:
            import tkinter as tk
        except ModuleNotFoundError as error:
            raise _impossible("Python's tkinter is not installed (Debian: apt install python3-tk)") from error
        try:
            self._root: Any = tk.Tk()
        except tk.TclError as error:
            raise _impossible(f"no display ({error})") from error
        self._root.title(title)
        self._root.protocol("WM_DELETE_WINDOW", self.close)
        self._root.bind("<Escape>", lambda _: self.close())
        self._label: Any = tk.Label(self._root)
        self._label.pack()

    def show(self, image: NDArray[np.uint8]) -> None:
        """image (H, W, 3) uint8 RGB, reduced to fit the screen; returns at once."""
        if not self.is_open:
            return
        from PIL import ImageTk  # needs tkinter

        picture = Image.fromarray(image)
        screen_wh = self._root.winfo_screenwidth(), self._root.winfo_screenheight()
        picture.thumbnail((int(PART_OF_SCREEN * screen_wh[0]), int(PART_OF_SCREEN * screen_wh[1])))
        self._shown = ImageTk.PhotoImage(picture, master=self._root)  # Tk does not keep it
        self._label.configure(image=self._shown)
        self._root.update()

    def wait(self) -> None:
        """Returns when the user closes the window."""
        if self.is_open:
            self._root.mainloop()

    def close(self) -> None:
        if self.is_open:
            self.is_open = False
            self._root.destroy()


def _impossible(why: str) -> SettingsError:
    problem = "expected a desktop; leave show out, the annotated images are written to the output folder"
    return SettingsError(f"show: {why}; {problem}", setting="show", value=True)
