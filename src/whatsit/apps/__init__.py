"""Ways in for people and programs: command line, web apps, services."""
