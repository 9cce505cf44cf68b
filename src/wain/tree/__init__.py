"""What a recovery point contains, in path order, and its signed manifest."""
