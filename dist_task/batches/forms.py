"""What the console asks before a batch begins: the verb's own parameters, the rate, and why."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from dist_task.engine.batches.verbs import LEAST_RATE, MOST_RATE
from dist_task.engine.remarks import LONGEST_REMARK

from .models import DEFAULT_RATE


class BatchForm(forms.Form):
    """`asked`: the fields of the verb's parameters, by their names on the wire. `is_trial`: nobody has to say why."""

    rate = forms.FloatField(
        label=_("Items per second at most"),
        min_value=LEAST_RATE,
        max_value=MOST_RATE,
        initial=DEFAULT_RATE,
        help_text=_("No more than so many of them begin in a second: called services are spared."),
    )
    remark = forms.CharField(
        label=_("Remark"),
        max_length=LONGEST_REMARK,
        widget=forms.Textarea(attrs={"rows": 3, "cols": 60}),
        help_text=_("Why. It is kept in the log of each transaction, with your name."),
    )

    def __init__(self, *args: Any, asked: Mapping[str, forms.Field], is_trial: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["remark"].required = not is_trial
        self._parameters = list(asked)
        self.fields.update(deepcopy(dict(asked)))
        self.order_fields([*self._parameters, "rate", "remark"])

    @property
    def parameters(self) -> dict[str, Any]:
        """Those that are filled in rightly, also where something else is not."""
        values = getattr(self, "cleaned_data", {})
        given = {name: values.get(name) for name in self._parameters}
        return {name: value for name, value in given.items() if value is not None and value is not False}
