"""Alerts and webhooks: rules over what needs a person, channels to tell somebody, and what was delivered to them.

Models, pure rendering and interfaces are here; what evaluates and delivers is in `dist_task.engine.alerts`.
"""
