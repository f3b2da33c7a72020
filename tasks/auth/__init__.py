"""Who may post: bearer tokens, signatures, permissions and throttles, and the endpoint that issues tokens."""
