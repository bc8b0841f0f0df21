"""The bundle: a single `.whatsit` file, which crosses from training to serving."""
