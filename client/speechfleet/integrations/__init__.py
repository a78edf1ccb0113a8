"""The fleet as other frameworks expect a speech model to be."""
