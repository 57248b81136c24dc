"""Triage: decides what a case is, who must act and when it ends."""
