"""An index over what people did, for the audit. Built while work goes on: the log may have tens of millions of rows."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("dist_task", "0008_subflows_and_timeouts")]

    operations = [
        AddIndexConcurrently(
            model_name="executionlog",
            index=models.Index(
                condition=models.Q(("actor__in", ("", "system", "callback")), _negated=True),
                fields=["-id"],
                name="executionlog_by_people",
            ),
        ),
    ]
