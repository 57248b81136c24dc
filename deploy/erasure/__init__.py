"""Erasing a person, as an operator sees it: asking for it, and following until all of it is done.

The work is the services'. Here is only read where the person still stands: on the log, in feeds
and dead letters, and in the stores.
"""
