"""For hosting: `streamlit run app.py`. The models: WHATSIT_MODELS, or in models/, runs/ or here. See docs/how-to/web-app.md."""

from streamlit import App

from whatsit.apps.streamlit_app.server import SCRIPT, hosted_site, options

app = App(SCRIPT, **options(hosted_site))
