"""The services' vocabulary, spoken in domain types."""
