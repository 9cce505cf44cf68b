"""The Recovery Services vault: points, presence, import, retention, rebuild."""
