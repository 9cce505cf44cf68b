"""Where page blobs and objects rest. `api` holds the contracts; every implementation passes the same suite."""
