"""Where tasks go, and with which right: registered connections, and the sealed secrets that they name."""

import django.core.validators
import django.db.models.functions.datetime
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("flows", "0002_registry"),
    ]

    operations = [
        migrations.CreateModel(
            name="Connection",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "name",
                    models.CharField(
                        help_text="What flows write. Letters, digits, _ and -.",
                        max_length=64,
                        unique=True,
                        validators=[
                            django.core.validators.RegexValidator(
                                "^[A-Za-z0-9_][A-Za-z0-9_-]*\\Z", "Letters, digits, _ and - only."
                            )
                        ],
                        verbose_name="name",
                    ),
                ),
                (
                    "kind",
                    models.CharField(
                        help_text="The type of the tasks that use it.", max_length=32, verbose_name="type"
                    ),
                ),
                ("config", models.JSONField(default=dict, verbose_name="configuration")),
                ("description", models.CharField(blank=True, max_length=200, verbose_name="description")),
                (
                    "is_active",
                    models.BooleanField(
                        default=True,
                        help_text="Switched off, its tasks fail and are tried again by their policies.",
                        verbose_name="active",
                    ),
                ),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False, verbose_name="created at"
                    ),
                ),
                (
                    "updated_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False, verbose_name="updated at"
                    ),
                ),
                (
                    "updated_by",
                    models.CharField(blank=True, default="", editable=False, max_length=150, verbose_name="updated by"),
                ),
            ],
            options={
                "verbose_name": "connection",
                "verbose_name_plural": "connections",
                "ordering": ("name",),
            },
        ),
        migrations.CreateModel(
            name="Secret",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "name",
                    models.CharField(
                        help_text="What ${secrets.NAME} names. Letters, digits and _.",
                        max_length=64,
                        unique=True,
                        validators=[
                            django.core.validators.RegexValidator(
                                "^[A-Za-z_][A-Za-z0-9_]*\\Z", "Letters, digits and _ only, no digit first."
                            )
                        ],
                        verbose_name="name",
                    ),
                ),
                ("sealed", models.TextField(editable=False)),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False, verbose_name="created at"
                    ),
                ),
                (
                    "updated_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False, verbose_name="set at"
                    ),
                ),
                (
                    "updated_by",
                    models.CharField(blank=True, default="", editable=False, max_length=150, verbose_name="set by"),
                ),
            ],
            options={
                "verbose_name": "secret",
                "verbose_name_plural": "secrets",
                "ordering": ("name",),
            },
        ),
    ]
