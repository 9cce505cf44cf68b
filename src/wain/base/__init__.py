"""Words every room shares: ids, sizes, errors, the byte codec, progress."""
