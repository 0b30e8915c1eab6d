"""transfers between two databases, while workers and PostgreSQL are killed; no cent is lost

Two databases stand for two banks, each with a role of its own that tasks use over a registered connection. A transfer
is three `db` tasks: announce it at the one bank, take the money at the other, give it at the first. Some ask for more
than there is, some go to an account that is closed: they are undone. Meanwhile workers of the cluster and PostgreSQL
itself are killed. At the end the banks are added up: every transfer happened once or not at all.
"""
