"""The one thing that crosses from training to serving: a single `.whatsit` file."""
