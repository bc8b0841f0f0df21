"""The Gradio app: the page that machine-learning people know, and an API for `gradio_client`.

`server.py` starts it, `page.py` is its page, `inputs.py` guards what comes in.
"""
