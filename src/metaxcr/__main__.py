"""``python -m metaxcr`` is ``metaxcr``."""

import sys

from metaxcr.cli import main

if __name__ == "__main__":
    sys.exit(main())
