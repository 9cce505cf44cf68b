"""The protected server: walk, pipeline, backup, seed, restore."""
