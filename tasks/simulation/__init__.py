"""A simulated compute cluster, for demonstrations and for a host's tests."""
