"""All addresses of the service. A trailing slash is tolerated everywhere, without a redirect."""

from __future__ import annotations

from django.urls import include, path, re_path
from django.views.generic import RedirectView

from dist_task.alerts.api import AlertRuleViewSet, ChannelViewSet, DeliveryViewSet
from dist_task.api import Router
from dist_task.batches.api import BatchViewSet
from dist_task.console import site
from dist_task.four_eyes.api import ApprovalRequestViewSet
from dist_task.health import HealthView, LiveView, ReadyView
from dist_task.schema import DocsView, SchemaView
from exceptions_app.api import ExceptionViewSet
from flows.api import FlowViewSet
from stats.api import StatsViewSet
from transactions.api import TransactionViewSet
from transactions.callbacks import CallbackView

router = Router()
router.register("flows", FlowViewSet, basename="flow")
router.register("transactions", TransactionViewSet, basename="transaction")
router.register("exceptions", ExceptionViewSet, basename="exception")
router.register("alert-rules", AlertRuleViewSet, basename="alert-rule")
router.register("channels", ChannelViewSet, basename="channel")
router.register("deliveries", DeliveryViewSet, basename="delivery")
router.register("batches", BatchViewSet, basename="batch")
router.register("approval-requests", ApprovalRequestViewSet, basename="approval-request")
router.register("stats", StatsViewSet, basename="stats")

urlpatterns = [
    re_path(r"^health/?$", HealthView.as_view(), name="health"),
    re_path(r"^livez/?$", LiveView.as_view(), name="livez"),
    re_path(r"^readyz/?$", ReadyView.as_view(), name="readyz"),
    re_path(r"^api/schema/?$", SchemaView.as_view(), name="schema"),
    re_path(r"^api/docs/?$", DocsView.as_view(), name="docs"),
    re_path(r"^api/v1/callbacks/(?P<token>[^/]+)/?$", CallbackView.as_view(), name="callback"),
    path("api/v1/", include(router.urls)),
    path("i18n/", include("django.conf.urls.i18n")),
    path("admin/", site.urls),
    path("admin", RedirectView.as_view(pattern_name="admin:index")),
    path("", RedirectView.as_view(pattern_name="admin:index"), name="home"),
]

handler400 = "dist_task.envelope.bad_request"
handler403 = "dist_task.envelope.forbidden"
handler404 = "dist_task.envelope.not_found"
handler500 = "dist_task.console.refusals.server_error"
