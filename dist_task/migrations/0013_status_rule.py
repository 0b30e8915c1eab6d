"""The rule of the statuses and that of the end become one. A table of millions is not read under the lock: that comes
with the next migration. (Backwards it is.)"""

from django.contrib.postgres.operations import AddConstraintNotValid
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("dist_task", "0012_four_eyes")]

    operations = [
        migrations.RemoveConstraint(model_name="taskrun", name="taskrun_status_known"),
        migrations.RemoveConstraint(model_name="taskrun", name="taskrun_final_iff_finished"),
        AddConstraintNotValid(
            model_name="taskrun",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("finished_at__isnull", False),
                        ("status__in", frozenset(["cancelled", "failed", "skipped", "success"])),
                    ),
                    models.Q(
                        ("finished_at__isnull", True), ("status__in", frozenset(["pending", "running", "waiting"]))
                    ),
                    _connector="OR",
                ),
                name="taskrun_final_iff_finished",
            ),
        ),
    ]
