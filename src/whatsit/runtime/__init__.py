"""From a bundle and a picture to an answer."""
