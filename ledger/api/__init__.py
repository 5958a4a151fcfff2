"""The HTTP service: `app` puts it together, a module a group of routes."""
