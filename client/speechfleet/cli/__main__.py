"""``python -m speechfleet.cli``: the same as the command ``speechfleet``."""

from speechfleet.cli import main

main()
