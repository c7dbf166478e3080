"""``python -m mlcweb`` is the ``mlcweb`` command."""

import sys

from mlcweb.cli import main

sys.exit(main())
