"""Wain beside restic and borg: the same corpora, on the same machine, in one run."""
