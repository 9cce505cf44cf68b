"""The Data Box service: orders, device preparation, data copy, erasure."""
