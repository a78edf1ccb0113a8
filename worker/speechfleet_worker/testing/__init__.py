"""Public test tools: servers that speak the providers' protocols on loopback, and the
conformance suite that every provider joins.

The real SDKs run against the servers, so an adapter is tested down to the socket without a
key and without leaving the machine.
"""
