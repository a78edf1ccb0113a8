"""The output of a job: its chunk stream and its audio object."""
