"""Reads the rows that are there against their new rule, while work goes on."""

from django.contrib.postgres.operations import ValidateConstraint
from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("transactions", "0008_status_rule")]

    operations = [ValidateConstraint(model_name="transaction", name="transaction_final_iff_completed")]
