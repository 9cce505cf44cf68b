"""Segments, packs and the index of chunks: sealed, verified with and without keys."""
