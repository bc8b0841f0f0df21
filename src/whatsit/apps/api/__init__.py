"""The service: REST over the same `Predictor` as everything else.

Needs the extra `serve`.
"""
