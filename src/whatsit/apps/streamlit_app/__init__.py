"""The web app, on Streamlit: it draws what the `Predictor` and the verbs return.

`server.py` starts it, `main.py` is the script that Streamlit runs for every visitor, `page_*.py` are its pages, and
`state.py` has what they share.
"""
