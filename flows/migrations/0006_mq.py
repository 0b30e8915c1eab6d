"""The registry's entries for messages: the documented `notify`, and the plain one of the type."""

from django.db import migrations

SHIPPED = (
    {
        "name": "notify",
        "type": "mq",
        "description": "通知",
        "config": {"topic": "payment.completed"},
        "inputs": [
            {"name": "user_id", "type": "string", "required": True},
            {"name": "order_id", "type": "string", "required": True},
            {"name": "status", "type": "string", "required": True},
        ],
    },
    {"name": "mq", "type": "mq", "description": ""},
)


def ship(apps, schema_editor):
    task_definition = apps.get_model("flows", "TaskDefinition")
    for entry in SHIPPED:
        task_definition.objects.get_or_create(name=entry["name"], defaults=entry)


class Migration(migrations.Migration):
    dependencies = [("flows", "0005_db")]
    operations = [migrations.RunPython(ship, migrations.RunPython.noop)]
