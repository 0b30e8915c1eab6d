"""Webhooks for finished transactions: written by a trigger, so in the commit of the status, whoever changes it."""

from django.db import migrations

# Where nobody subscribes a transaction that ends costs one look at an empty table, every other update nothing: the
# trigger is of the column, and its condition is judged without a call. The key makes a row of each end: a transaction
# that failed, was retried and succeeded has ended twice.
FUNCTION = """
CREATE FUNCTION alerts_transaction_ended() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
    IF NOT EXISTS (SELECT FROM alerts_subscription WHERE is_active) THEN
        RETURN NULL;
    END IF;
    INSERT INTO alerts_delivery (key, channel_id, event, subject, payload)
    SELECT format('transaction:%s:%s:%s:%s', NEW.id, NEW.status,
                  (EXTRACT(EPOCH FROM NEW.completed_at) * 1000000)::bigint, s.channel_id),
           s.channel_id, 'transaction.' || NEW.status, NEW.instance_id,
           jsonb_build_object(
               'instance_id', NEW.instance_id, 'flow_id', f.id, 'flow_name', f.name, 'flow_version', f.version,
               'status', NEW.status, 'compensation', NEW.compensation,
               'created_at', to_char(NEW.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
               'completed_at', to_char(NEW.completed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'))
    FROM alerts_subscription s
    JOIN alerts_channel c ON c.id = s.channel_id AND c.is_active
    JOIN flows_flow f ON f.id = NEW.flow_id
    WHERE s.is_active AND (s.flow_name = '' OR s.flow_name = f.name)
      AND CASE NEW.status WHEN 'success' THEN s.on_success WHEN 'failed' THEN s.on_failed ELSE s.on_cancelled END
    ON CONFLICT (key) DO NOTHING;
    RETURN NULL;
END $body$;
CREATE TRIGGER alerts_transaction_ended AFTER UPDATE OF status ON transactions_transaction
FOR EACH ROW WHEN (NEW.completed_at IS NOT NULL AND NEW.status IS DISTINCT FROM OLD.status)
EXECUTE FUNCTION alerts_transaction_ended();
"""
DROP = """
DROP TRIGGER alerts_transaction_ended ON transactions_transaction;
DROP FUNCTION alerts_transaction_ended();
"""

# A rule counts the open exceptions of its window (engine/store/alerts.py), which may be few among very many.
INDEX = """
CREATE INDEX exception_open_last ON exceptions_app_exceptionrecord (last_at) WHERE status = 'open';
"""


class Migration(migrations.Migration):
    dependencies = [
        ("alerts", "0001_initial"),
        ("exceptions_app", "0001_initial"),
        ("flows", "0001_initial"),
        ("transactions", "0001_initial"),
    ]

    operations = [
        migrations.RunSQL(FUNCTION, DROP),
        migrations.RunSQL(INDEX, "DROP INDEX exception_open_last"),
    ]
