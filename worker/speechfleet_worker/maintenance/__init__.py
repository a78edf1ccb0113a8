"""The periodic work of a worker: heartbeats, recovery, feeding of batches."""
