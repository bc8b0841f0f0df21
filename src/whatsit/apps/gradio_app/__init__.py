"""The Gradio app: a page for people and an API for `gradio_client`.

`server.py` starts it, `page.py` is its page, `inputs.py` guards what comes in.
"""
