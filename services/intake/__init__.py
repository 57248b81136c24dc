"""Intake: takes citizens' requests and later words from channels and puts them on the log."""
