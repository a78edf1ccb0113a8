"""Models by name: the adapters, people's own, and the endpoints of the settings."""
