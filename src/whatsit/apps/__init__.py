"""Ways in for people and programs: the command line, later the web apps and the API."""
