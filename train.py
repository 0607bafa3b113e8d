"""The same command line as `gcvideo`, for those who look for a train.py."""

import sys

from gcvideo.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
