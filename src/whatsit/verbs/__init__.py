"""The verbs of whatsit, one in each file.

Stages are put together here and nowhere else.
"""
