"""What `make demo` speaks."""
