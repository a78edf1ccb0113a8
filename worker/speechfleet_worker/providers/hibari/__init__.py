"""hibari, in process."""
