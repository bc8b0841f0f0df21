"""The web app, on Streamlit. It holds no model logic: it calls the `Predictor` and draws. No TensorFlow.

`server.py` starts it, `main.py` is the script that Streamlit runs for every visitor; `classify.py`, `live.py` and
`model.py` are its pages.
"""
