"""Entry point of `python -m lookonce`, the same as `lookonce`."""

import sys

from lookonce.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
