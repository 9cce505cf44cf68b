"""Wain: backups whose first, huge part travels on a shipped disk."""

__version__ = "0.1.0"
