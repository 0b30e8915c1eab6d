"""Reads the rows that are there against their new rule, while work goes on."""

from django.contrib.postgres.operations import ValidateConstraint
from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("dist_task", "0013_status_rule")]

    operations = [ValidateConstraint(model_name="taskrun", name="taskrun_final_iff_finished")]
