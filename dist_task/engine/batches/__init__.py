"""Batches are frozen, steered and run here: item by item, each in a database transaction of its own."""
