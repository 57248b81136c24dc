"""Reporting: case lookup and figures. It decides nothing, and all it has can be thrown away."""
