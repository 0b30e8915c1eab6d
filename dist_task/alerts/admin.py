"""Alert rules, channels, webhooks for finished transactions and deliveries in the console."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import Model, QuerySet
from django.db.models.functions import Now
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from dist_task.console import site
from dist_task.console.confirm import Operation, RemarkForm, each, operate
from dist_task.console.display import badge, moment, row_link, short
from dist_task.console.rows import BoundedAdmin, EngineRowAdmin, TabFilter
from dist_task.engine.alerts import verbs
from dist_task.executors.secrets import named_in
from flows.outside_admin import known_names

from .forms import ChannelForm, RuleForm, SubscriptionForm
from .models import AlertRule, Channel, Delivery, DeliveryLog, Subscription
from .texts import condition
from .words import DeliveryStatus, RuleState

SYMBOL_OF = {"pending": "pending", "retrying": "retrying", "delivered": "success", "given_up": "failed"}
MOST_LOG = 50


def _test(request: HttpRequest, channel: Any, values: dict[str, Any]) -> str:
    delivery = verbs.send_test(channel.pk, actor=request.user.get_username(), remark=values["remark"])
    return format_html(gettext("sent soon: {}"), row_link(delivery))


def _redeliver(request: HttpRequest, delivery: Any, values: dict[str, Any]) -> str:
    verbs.redeliver(delivery.pk, actor=request.user.get_username(), remark=values["remark"])
    return gettext("due now")


def _kind_of(channel: Any) -> str:
    return str(channel.get_kind_display())


def _way_of(delivery: Any) -> str:
    return f"{delivery.get_event_display()} → {delivery.channel}"


TEST = Operation(
    action="test",
    title=_("Send a test"),
    consequence=_("Each channel gets a message that says it is a test. It is delivered like any other, and listed."),
    apply=_test,
    describe=each(_kind_of),
    form=RemarkForm,
)
REDELIVER = Operation(
    action="redeliver",
    title=_("Redeliver"),
    consequence=_(
        "Each message is sent again under the same id, with as many attempts as a new one. A receiver that remembers "
        "ids may pass over what it has had."
    ),
    apply=_redeliver,
    describe=each(_way_of),
    form=RemarkForm,
)


@admin.register(AlertRule, site=site)
class AlertRuleAdmin(BoundedAdmin):
    form = RuleForm
    list_display = ("name", "current", "kind", "level", "found", "told", "since_then")
    list_filter = ("state", "kind", "severity")
    search_fields = ("name__istartswith",)
    search_help_text = _("The beginning of a name")
    ordering = ("name",)
    sortable_by = ()
    fieldsets = (
        (None, {"fields": ("name", "kind", "severity", "channels", "is_active")}),
        (_("Exceptions and compensations"), {"fields": ("flow_name", "outcome", "threshold", "window_seconds")}),
        (_("Nothing runs, oldest work"), {"fields": ("age_seconds",)}),
        (_("The end of an alert"), {"fields": ("calm_seconds",)}),
    )

    def get_fieldsets(self, request: HttpRequest, obj: Model | None = None) -> Any:
        found = super().get_fieldsets(request, obj)
        if obj is None:
            return found
        return ((None, {"fields": (("current", "found", "since_then"), "looked")}), *found)

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> Any:
        return () if obj is None else ("current", "found", "since_then", "looked")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).prefetch_related("channels")

    @admin.display(description=_("state"))
    def current(self, rule: AlertRule) -> str:
        if not rule.is_active:
            return badge("no", word=gettext("off"))
        return badge("open" if rule.state == RuleState.FIRING else "success", word=rule.get_state_display())

    @admin.display(description=_("severity"))
    def level(self, rule: AlertRule) -> str:
        return rule.get_severity_display()

    @admin.display(description=_("last found"))
    def found(self, rule: AlertRule) -> str:
        return condition({"kind": rule.kind, "value": rule.value}) if rule.value >= 1 else "–"

    @admin.display(description=_("tells"))
    def told(self, rule: AlertRule) -> str:
        return short(", ".join(channel.name for channel in rule.channels.all())) or gettext("nobody")

    @admin.display(description=_("since"))
    def since_then(self, rule: AlertRule) -> str:
        return moment(rule.since)

    @admin.display(description=_("looked at"))
    def looked(self, rule: AlertRule) -> str:
        return moment(rule.checked_at)


@admin.register(Channel, site=site)
class ChannelAdmin(BoundedAdmin):
    form = ChannelForm
    change_form_template = "admin/channel.html"
    list_display = ("name", "kind", "state", "leads_to", "updated", "updated_by")
    list_filter = ("kind",)
    search_fields = ("name__istartswith",)
    search_help_text = _("The beginning of a name")
    ordering = ("name",)
    sortable_by = ()
    actions = ("test",)

    def get_fields(self, request: HttpRequest, obj: Channel | None = None) -> Any:
        fields = ChannelForm.Meta.fields
        if obj is None:
            return fields
        why = ("why_inactive",) if obj.why_inactive else ()
        return (*fields, *why, ("updated", "updated_by"))

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> Any:
        return () if obj is None else ("why_inactive", "updated", "updated_by")

    def has_test_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("alerts.test_channel")

    def has_delete_permission(self, request: HttpRequest, obj: Channel | None = None) -> bool:
        """The log of what was delivered names its channel: with one, it is switched off and not removed."""
        if obj is not None and Delivery.objects.filter(channel=obj).exists():
            return False
        return super().has_delete_permission(request, obj)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        extra = {"can_test": self.has_test_permission(request), **(extra_context or {})}
        return super().change_view(request, object_id, form_url, extra)

    def save_model(self, request: HttpRequest, obj: Channel, form: Any, change: bool) -> None:
        obj.updated_by, obj.updated_at = request.user.get_username(), Now()
        if obj.is_active:
            obj.why_inactive = ""
        super().save_model(request, obj, form, change)
        obj.refresh_from_db(fields=["updated_at"])
        if not named_in({"url": obj.url, "secret": obj.secret} if obj.secret else {"url": obj.url}) <= known_names():
            text = _("A secret that this channel names is not known here: set it, or see that the workers have it.")
            self.message_user(request, text, messages.WARNING)

    @admin.action(description=_("Send a test…"), permissions=["test"])
    def test(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        return operate(self, request=request, rows=queryset, operation=TEST)

    @admin.display(description=_("active"))
    def state(self, channel: Channel) -> str:
        if channel.is_active:
            return badge("yes", word=gettext("active"))
        return badge("no", word=channel.why_inactive or gettext("inactive"))

    @admin.display(description=_("leads to"))
    def leads_to(self, channel: Channel) -> str:
        return short(channel.url or ", ".join(channel.recipients.split()), length=80)

    @admin.display(description=_("updated at"))
    def updated(self, channel: Channel) -> str:
        return moment(channel.updated_at)


@admin.register(Subscription, site=site)
class SubscriptionAdmin(BoundedAdmin):
    form = SubscriptionForm
    list_display = ("channel", "of_flow", "on_success", "on_failed", "on_cancelled", "is_active")
    list_filter = ("channel",)
    list_select_related = ("channel",)
    ordering = ("channel__name", "flow_name")
    sortable_by = ()

    @admin.display(description=_("flow"))
    def of_flow(self, row: Subscription) -> str:
        return row.flow_name or gettext("all flows")


class DeliveryTabs(TabFilter):
    title = _("status")
    parameter_name = "status"
    default = "all"
    tabs = (("all", _("all")), *DeliveryStatus.choices)

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset if self.value() == "all" else queryset.filter(status=self.value())


@admin.register(Delivery, site=site)
class DeliveryAdmin(EngineRowAdmin):
    change_form_template = "admin/delivery.html"
    change_list_template = "admin/delivery_list.html"
    list_display = ("state", "event", "about", "to_channel", "attempts", "error", "when")
    list_display_links = ("state",)
    list_filter = (DeliveryTabs, "channel", "event", "created_at")
    list_select_related = ("channel",)
    ordering = ("-id",)
    sortable_by = ()
    actions = ("redeliver",)

    def has_redeliver_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("alerts.redeliver_delivery")

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        delivery = self.get_object(request, object_id) if self.has_view_permission(request) else None
        extra = _page(delivery) if delivery else {}
        extra["can_redeliver"] = self.has_redeliver_permission(request)
        return super().change_view(request, object_id, form_url, {**extra, **(extra_context or {})})

    @admin.action(description=_("Redeliver…"), permissions=["redeliver"])
    def redeliver(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        return operate(self, request=request, rows=queryset, operation=REDELIVER)

    @admin.display(description=_("status"))
    def state(self, delivery: Delivery) -> str:
        return badge(SYMBOL_OF[delivery.status], word=delivery.get_status_display())

    @admin.display(description=_("about"))
    def about(self, delivery: Delivery) -> str:
        return short(delivery.subject, length=60)

    @admin.display(description=_("channel"))
    def to_channel(self, delivery: Delivery) -> str:
        return row_link(delivery.channel)

    @admin.display(description=_("last error"))
    def error(self, delivery: Delivery) -> str:
        return short(delivery.last_error, length=80)

    @admin.display(description=_("created at"))
    def when(self, delivery: Delivery) -> str:
        return moment(delivery.created_at)


def _page(delivery: Any) -> dict[str, Any]:
    entries = DeliveryLog.objects.filter(delivery=delivery).order_by("-id")
    return {
        "delivery": delivery,
        "badge": badge(SYMBOL_OF[delivery.status], word=delivery.get_status_display()),
        "entries": list(entries[:MOST_LOG])[::-1],
        "is_due_already": delivery.status == DeliveryStatus.PENDING,
    }
