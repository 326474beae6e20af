"""`python -m lookonce` is `lookonce`."""

import sys

from lookonce.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
