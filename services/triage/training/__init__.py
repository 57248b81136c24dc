"""How the shipped classifier is made and measured; not needed to run the services."""
