"""The registry's plain entry for subflows."""

from django.db import migrations


def ship(apps, schema_editor):
    task_definition = apps.get_model("flows", "TaskDefinition")
    task_definition.objects.get_or_create(name="subflow", defaults={"type": "subflow", "description": ""})


class Migration(migrations.Migration):
    dependencies = [("flows", "0006_mq")]
    operations = [migrations.RunPython(ship, migrations.RunPython.noop)]
