"""``python -m napari_incontext_seg``: the command line."""

import sys

from .cli.main import main

sys.exit(main())
