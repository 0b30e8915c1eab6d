"""Plain registry entries of the task types that wait."""

from django.db import migrations

SHIPPED = (
    {"name": "wait", "type": "wait", "description": ""},
    {"name": "approval", "type": "approval", "description": ""},
)


def ship(apps, schema_editor):
    task_definition = apps.get_model("flows", "TaskDefinition")
    for entry in SHIPPED:
        task_definition.objects.get_or_create(name=entry["name"], defaults=entry)


class Migration(migrations.Migration):
    dependencies = [("flows", "0003_connections")]
    operations = [migrations.RunPython(ship, migrations.RunPython.noop)]
