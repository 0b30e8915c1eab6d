"""A shop that is good for trying out: services that fail on purpose, a flow over them, and a few orders."""
