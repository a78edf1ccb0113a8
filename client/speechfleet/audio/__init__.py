"""Audio: buffers, WAV, codecs. Nothing here does I/O."""
