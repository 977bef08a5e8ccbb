"""``python -m fastmlp`` and the script ``fastmlp``."""

import sys

from .cli.process import main

if __name__ == "__main__":
    sys.exit(main())
