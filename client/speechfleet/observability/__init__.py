"""Logs, traces and metrics of all processes of a fleet."""
