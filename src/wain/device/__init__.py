"""The box on the desk: find, label, journal, write, read back, seal."""
