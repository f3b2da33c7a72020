"""The OpenAPI document of the app's endpoints, and the webhook's part in a host's own document."""
