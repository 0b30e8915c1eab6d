from django.db import migrations, models

MARK = """
    UPDATE transactions_transaction t SET was_run_again = true
    FROM transactions_transaction a WHERE a.rerun_of_id = t.id
"""


class Migration(migrations.Migration):
    dependencies = [
        ("transactions", "0006_rerun"),
    ]

    operations = [
        migrations.AddField(
            model_name="transaction",
            name="was_run_again",
            field=models.BooleanField(
                db_default=False,
                default=False,
                help_text="It goes on there, also once that one has been removed.",
                verbose_name="was run again",
            ),
        ),
        migrations.RunSQL(MARK, migrations.RunSQL.noop),
    ]
