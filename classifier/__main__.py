"""`python -m pointsman.classifier` is the `pointsman` command."""

import sys

from .commands import main

sys.exit(main())
