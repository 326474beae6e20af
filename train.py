"""The document's startup file: `python train.py OPTIONS` is `lookonce train OPTIONS` (docs/modelzoo.md, "Files")."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent / "src"))  # a checkout into which nothing was installed

from lookonce.cli.startup import startup

if __name__ == "__main__":
    sys.exit(startup("train", __file__))
