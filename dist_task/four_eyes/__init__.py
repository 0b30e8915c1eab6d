"""The four-eyes rule: what one person has asked for, and a second one approves or rejects.

Models and interfaces are here; the rule itself and its verbs are in `dist_task.engine.four_eyes`.
"""
