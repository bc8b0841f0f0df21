"""Figures of the shipped model: plain functions of arrays, and the Predictor's answers to feed them."""
