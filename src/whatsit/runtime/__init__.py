"""From a bundle and a picture to a prediction."""
