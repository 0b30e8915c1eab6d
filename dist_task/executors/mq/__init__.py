"""`mq` tasks: one message to a broker, through kombu.

`executor` is what a worker calls, `broker` what a registered connection says, `message` what is published, `wire` one
open connection to a broker and what its failures mean, `shelf` the connections that wait for the next message.
"""

from .executor import MqExecutor

__all__ = ["MqExecutor"]
