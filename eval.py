"""The document's startup file: `python eval.py OPTIONS` is `lookonce eval OPTIONS` (docs/modelzoo.md, "Files")."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent / "src"))  # a checkout into which nothing was installed

from lookonce.cli.startup import startup

if __name__ == "__main__":
    sys.exit(startup("eval", __file__))
