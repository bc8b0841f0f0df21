"""A training run as a folder: its record, workspace, repetition and comparison."""
