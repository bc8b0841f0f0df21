"""The search for a better recipe: what may change, a study of trials, and its folder."""
