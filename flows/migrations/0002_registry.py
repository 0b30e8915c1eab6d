"""The entries that the registry ships: the documented ones whose executor exists, and one plain entry per type."""

from django.db import migrations

SHIPPED = (
    {
        "name": "deduct",
        "type": "rpc",
        "description": "扣款",
        "config": {"service": "127.0.0.1:9001", "method": "payment.deduct"},
        "inputs": [
            {"name": "user_id", "type": "string", "required": True},
            {"name": "amount", "type": "int", "required": True},
            {"name": "order_id", "type": "string"},
        ],
    },
    {"name": "http_request", "type": "http", "description": "HTTP request"},
    {"name": "http", "type": "http", "description": ""},
    {"name": "rpc", "type": "rpc", "description": ""},
    {"name": "noop", "type": "noop", "description": ""},
)


def ship(apps, schema_editor):
    task_definition = apps.get_model("flows", "TaskDefinition")
    for entry in SHIPPED:
        task_definition.objects.get_or_create(name=entry["name"], defaults=entry)


class Migration(migrations.Migration):
    dependencies = [("flows", "0001_initial")]
    operations = [migrations.RunPython(ship, migrations.RunPython.noop)]
