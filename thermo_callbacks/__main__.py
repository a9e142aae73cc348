"""``python -m thermo_callbacks``: the command line where its command is not on the path."""

from __future__ import annotations

import sys

from thermo_callbacks.commands.cli import main

if __name__ == "__main__":  # worker processes of a comparison import this module as well
    sys.exit(main())
