"""Lays packs on 512-byte pages; container and blob names; parity over groups of packs."""
