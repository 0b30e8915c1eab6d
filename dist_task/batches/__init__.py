"""Batches: one verb over a frozen set of rows, worked off by the cluster, with a result for each.

Models, selections and interfaces are here; what freezes and runs is in `dist_task.engine.batches`.
"""
