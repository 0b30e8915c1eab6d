"""django-q2's own name for the cluster: the same command, so that either habit starts the same thing."""

from .cluster import Command

__all__ = ["Command"]
