"""Comparing secrets, in a time that tells nothing about where they differ."""

# What `hmac.compare_digest` is. The module `hmac` itself loads a second OpenSSL beside that of `cryptography`: 3.5 MB
# in every command, for this comparison alone.
from _operator import _compare_digest as same_bytes

__all__ = ["same_bytes"]
