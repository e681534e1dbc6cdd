"""REST calls of customers and of custody providers."""
