"""The served directory."""

from unit.identity.fixtures import served

__all__ = ["served"]
