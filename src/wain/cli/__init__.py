"""The only place that reads config and exits."""
