"""The execution of one job: its segments, their audio, the session."""
