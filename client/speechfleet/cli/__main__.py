"""``python -m speechfleet.cli``: the same as the command ``speechfleet``."""

import sys

from speechfleet.cli import main

sys.exit(main())
