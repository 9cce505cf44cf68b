"""What a backup job may do next; the seeding decisions."""
