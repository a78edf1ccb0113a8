"""``python -m speechfleet.cli`` runs the command ``speechfleet``."""

from speechfleet.cli import main

main()
