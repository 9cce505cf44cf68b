"""A Data Box order: SKUs, stages, legal moves, custody."""
