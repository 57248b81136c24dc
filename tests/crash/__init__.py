"""Killing a process between every two of its steps, and looking at what comes of it."""
