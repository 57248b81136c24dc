"""Seeing to dead letters: what lies aside, writing it again, giving it up.

`letters` reads the topics, `ledger` keeps in the store what people did, `refusals` says what must
not be written again, `repair` is the workflow, `showing` is for people.
"""
