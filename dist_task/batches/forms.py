"""What the console asks before a batch begins: the verb's own parameters, the rate, and why."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from dist_task.engine.batches.verbs import LEAST_RATE, MOST_RATE
from dist_task.engine.operate import LONGEST_DELAY_SECONDS, LONGEST_REMARK
from dist_task.states import Resolution
from flows.forms import SMALL_CODE, StrictJSONField

from .models import DEFAULT_RATE

FIELDS: Mapping[str, Callable[[], forms.Field]] = {
    "delay": lambda: forms.FloatField(
        label=_("Delay in seconds"),
        required=False,
        min_value=0,
        max_value=LONGEST_DELAY_SECONDS,
        help_text=_("Empty: the interval of the task's retry policy. 0: now."),
    ),
    "force": lambda: forms.BooleanField(
        label=_("Also tasks that are never to be retried"),
        required=False,
        help_text=_("The strategy no_retry says that trying again may do harm."),
    ),
    "output": lambda: StrictJSONField(
        label=_("Output"),
        required=False,
        widget=SMALL_CODE,
        help_text=_("JSON that later tasks get, as if the task had given it. Empty: nothing."),
    ),
    "resolution": lambda: forms.ChoiceField(label=_("Resolution"), choices=Resolution.choices),
}


class BatchForm(forms.Form):
    """`parameters`: the names of those of the verb."""

    rate = forms.FloatField(
        label=_("Items per second at most"),
        min_value=LEAST_RATE,
        max_value=MOST_RATE,
        initial=DEFAULT_RATE,
        help_text=_("The called services get no more retries than this at once."),
    )
    remark = forms.CharField(
        label=_("Remark"),
        max_length=LONGEST_REMARK,
        widget=forms.Textarea(attrs={"rows": 3, "cols": 60}),
        help_text=_("Why. It is kept in the log of each transaction, with your name."),
    )

    def __init__(self, *args: Any, parameters: Mapping[str, str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._parameters = [name for name in parameters if name in FIELDS]
        for name in self._parameters:
            self.fields[name] = FIELDS[name]()
        self.order_fields([*self._parameters, "rate", "remark"])

    @property
    def parameters(self) -> dict[str, Any]:
        """Those that are filled in rightly, also where something else is not."""
        values = getattr(self, "cleaned_data", {})
        given = {name: values.get(name) for name in self._parameters}
        return {name: value for name, value in given.items() if value is not None and value is not False}
