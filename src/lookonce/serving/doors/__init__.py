"""Protocols of other programs, each a thin file over the same detection."""
