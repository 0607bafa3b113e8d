"""`python -m gcvideo` is the command `gcvideo`."""

import sys

from gcvideo.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
