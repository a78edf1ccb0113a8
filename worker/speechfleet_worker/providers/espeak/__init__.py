"""espeak-ng, in process."""
