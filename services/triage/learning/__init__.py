"""Learning: reads labelled files, trains models from them and measures what they decide."""
