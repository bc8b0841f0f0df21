"""The search for a better recipe: its space, a study of trials, and its folder."""
