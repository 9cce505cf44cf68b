"""Cuts content into chunks and names them."""
