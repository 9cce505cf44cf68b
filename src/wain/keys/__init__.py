"""Passphrase, recovery key, sub-keys, key slots. Pure: salts and fresh keys are arguments."""
