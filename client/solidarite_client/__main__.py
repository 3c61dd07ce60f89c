"""`python -m solidarite_client` is the command `solidarite`, whichever Python has it installed."""

import sys

from solidarite_client.cli import main

if __name__ == "__main__":
    sys.exit(main())
