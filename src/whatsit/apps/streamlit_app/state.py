"""What the web app offers to all visitors, in one object.

What belongs to a single visitor is in `st.session_state`.
"""

from __future__ import annotations

import functools
import gc
from dataclasses import dataclass, field

from whatsit.apps.streamlit_app.data_review import DataReview
from whatsit.apps.streamlit_app.feedback import Feedback
from whatsit.apps.streamlit_app.labelling import Labelling
from whatsit.apps.streamlit_app.model_registry import ModelRegistry
from whatsit.apps.streamlit_app.teaching import Teaching


@dataclass
class AppState:
    """Everything that the pages share; None for what the owner did not ask for."""

    models: ModelRegistry = field(default_factory=ModelRegistry)
    review: DataReview | None = None
    teaching: Teaching | None = None
    feedback: Feedback | None = None
    shows_training: bool = False  # whether visitors may see training pictures, beside those that look like them
    labelling: Labelling | None = None
    can_share: bool = False  # whether visitors may take the model with them, as a web page: where they are the owner


STATE = AppState()  # the server fills it before the first visitor comes; Streamlit's script cannot be handed anything


@functools.cache
def settle() -> None:
    """Set aside what is loaded, once, in the process of the app.

    Streamlit collects garbage after every run of its script, and would look through all objects of all libraries each time.
    """
    gc.collect()
    gc.freeze()
