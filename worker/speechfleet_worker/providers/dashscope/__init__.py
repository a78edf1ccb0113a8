"""DashScope over HTTP and over its realtime WebSocket."""
