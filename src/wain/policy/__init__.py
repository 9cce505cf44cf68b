"""When to back up, how long to keep, what to leave out, what fits."""
