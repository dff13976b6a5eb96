"""`python -m resode`."""

import sys

from resode.cli import main

sys.exit(main())
