"""The only writers: they record events, mark lost tasks, prune, and rebuild."""
