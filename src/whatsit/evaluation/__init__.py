"""Metrics of the shipped model, its examination, plots and pages."""
