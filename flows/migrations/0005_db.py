"""The plain registry entry of db tasks."""

from django.db import migrations


def ship(apps, schema_editor):
    task_definition = apps.get_model("flows", "TaskDefinition")
    task_definition.objects.get_or_create(name="db", defaults={"type": "db", "description": ""})


class Migration(migrations.Migration):
    dependencies = [("flows", "0004_waiting")]
    operations = [migrations.RunPython(ship, migrations.RunPython.noop)]
