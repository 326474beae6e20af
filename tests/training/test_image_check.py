import os
from pathlib import Path

import cv2
import numpy as np

from lookonce.training.image_check import decode_all


def test_images_are_decoded_once_and_again_where_they_changed(tmp_path: Path) -> None:
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    for path in paths:
        cv2.imwrite(str(path), np.zeros((8, 8, 3), np.uint8))
    whole = paths[1].read_bytes()
    paths[1].write_bytes(whole[:-20])
    done: list[int] = []
    first = decode_all(paths, {}, done.append)
    assert done == [1, 2]
    assert [bool(error) for _, _, error in first.values()] == [False, True]
    known = {name: (size, time, "as before") for name, (size, time, _) in first.items()}
    assert decode_all(paths, known, done.append) == known
    paths[1].write_bytes(whole)
    os.utime(paths[0], ns=(1, 1))
    assert [error for _, _, error in decode_all(paths, known, done.append).values()] == ["", ""]
