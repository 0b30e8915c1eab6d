"""The rule of the statuses and that of the end become one. A table of millions is not read under the lock: that comes
with the next migration. (Backwards it is.)"""

from django.contrib.postgres.operations import AddConstraintNotValid
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("transactions", "0007_was_run_again")]

    operations = [
        migrations.RemoveConstraint(model_name="transaction", name="transaction_status_known"),
        migrations.RemoveConstraint(model_name="transaction", name="transaction_final_iff_completed"),
        AddConstraintNotValid(
            model_name="transaction",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("completed_at__isnull", False), ("status__in", frozenset(["cancelled", "failed", "success"]))
                    ),
                    models.Q(("completed_at__isnull", True), ("status__in", frozenset(["pending", "running"]))),
                    _connector="OR",
                ),
                name="transaction_final_iff_completed",
            ),
        ),
    ]
