"""The document's startup file: `python export.py OPTIONS` is `lookonce export OPTIONS` (docs/modelzoo.md, "Files")."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent / "src"))  # a checkout into which nothing was installed

from lookonce.cli.startup import startup

if __name__ == "__main__":
    sys.exit(startup("export", __file__))
