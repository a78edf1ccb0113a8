"""The prefix of every key and channel in Redis; it holds the version of their layout."""

PREFIX = "speechfleet.1"
