"""The embedded PostgreSQL: a Django database backend, and the keeper process that runs the server.

Everything here except `base` is stdlib-only: the keeper and the supervisor import it and must stay small.
"""
