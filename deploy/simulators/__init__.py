"""Departments, hotlines, the duty desk and citizens, played as clients of the public API."""
