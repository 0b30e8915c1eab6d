"""Django settings. Two profiles: `development` (loopback, no token needed) and `production` (deny by default)."""

from __future__ import annotations

import os
import secrets
import sys
from base64 import urlsafe_b64encode
from datetime import timedelta
from pathlib import Path

import environ
from django.core.exceptions import ImproperlyConfigured
from django.utils.translation import gettext_lazy as _

from dist_task import deployed, profiles
from dist_task.database import databases

BASE_DIR = Path(__file__).resolve().parent.parent
env = environ.Env()

PROFILE = env.str("DIST_TASK_PROFILE", default="development")
if why_not := profiles.refusal(os.environ):
    raise ImproperlyConfigured(why_not)
PRODUCTION = PROFILE == "production"
ENVIRONMENT = env.str("DIST_TASK_ENVIRONMENT", default="").strip()
"""Its name at the top of the console; without one the profile's."""
DATA_DIR = Path(env.str("DIST_TASK_DATA", default=str(BASE_DIR / "var"))).resolve()


def development_key(name: str, *, fresh: str) -> str:
    """A random key of this data folder, kept in a 0600 file: a default that is in the source is no secret."""
    path = DATA_DIR / name
    if not path.exists():
        DATA_DIR.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f"{name}.{os.getpid()}")
        draft.touch(mode=0o600)
        draft.write_text(fresh)
        try:
            os.link(draft, path)  # unlike a rename it never replaces the key that another process made just now
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return path.read_text()


def secrets_keys() -> tuple[str, ...]:
    """What seals stored secrets, the newest first: of a variable, of a file, or of the data folder."""
    if given := env.list("DIST_TASK_SECRETS_KEYS", default=[]):
        return tuple(given)
    if path := env.str("DIST_TASK_SECRETS_KEYS_FILE", default=""):
        try:
            return tuple(Path(path).read_text().split())
        except OSError as error:
            raise ImproperlyConfigured(f"DIST_TASK_SECRETS_KEYS_FILE cannot be read: {error}") from error
    if PRODUCTION:
        return ()
    return (development_key("secrets_key", fresh=urlsafe_b64encode(secrets.token_bytes(32)).decode()),)


SECRET_KEY = env.str(
    "SECRET_KEY",
    default="" if PRODUCTION else development_key("secret_key", fresh="development-" + secrets.token_urlsafe(48)),
)
SECRET_KEY_FALLBACKS = env.list("SECRET_KEY_FALLBACKS", default=[])
DEBUG = False
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=[] if PRODUCTION else ["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django.contrib.admin.apps.SimpleAdminConfig",
    "rest_framework",
    "django_filters",
    "knox",
    "axes",
    "csp",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "dist_task",  # before django_q: its `qcluster` command is ours
    "django_q",
    "flows",
    "transactions",
    "dist_task.alerts",
    "dist_task.batches",
    "dist_task.saved_views",
    "dist_task.four_eyes",
    "exceptions_app",
    "stats",
]

# One that looks at another header of a request than those named in transactions/express.py adds it there.
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "axes.middleware.AxesMiddleware",
]

ROOT_URLCONF = "dist_task.urls"
WSGI_APPLICATION = "dist_task.wsgi.application"
APPEND_SLASH = False

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "django.template.context_processors.i18n",
            ]
        },
    }
]

DATABASES = databases()
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}

AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "dist_task.permissions.PermissionBackend",
    "django.contrib.auth.backends.ModelBackend",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
LOGIN_URL = "admin:login"
AXES_FAILURE_LIMIT = 5
AXES_COOLOFF_TIME = 0.25  # hours
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_LOCKOUT_CALLABLE = "dist_task.console.refusals.locked"
AXES_VERBOSE = False

LANGUAGE_CODE = "en"
LANGUAGES = [("en", _("English")), ("zh-hans", _("Simplified Chinese"))]
LOCALE_PATHS = [BASE_DIR / "locale"]
TIME_ZONE = env.str("TIME_ZONE", default="UTC")
USE_I18N = True
USE_TZ = True

STATIC_URL = "static/"
STATIC_ROOT = env.str("STATIC_ROOT", default=str(DATA_DIR / "static"))
STATICFILES_DIRS = [BASE_DIR / "static"]
WHITENOISE_USE_FINDERS = not PRODUCTION

DATA_UPLOAD_MAX_MEMORY_SIZE = env.int("MAX_UPLOAD_BYTES", default=10_485_760)
"""Of definitions and batches. Other bodies end at MAX_BODY_BYTES."""

SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
SESSION_COOKIE_HTTPONLY = True
TLS = env.bool("TLS", default=PRODUCTION)
"""Production is reached over https. `TLS=off` is for a private network that ends TLS elsewhere."""
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = TLS
SECURE_HSTS_SECONDS = env.int("HSTS_SECONDS", default=31_536_000 if TLS else 0)
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = TLS
SECURE_REDIRECT_EXEMPT = [r"^(health|livez|readyz)/?$"]
if env.bool("BEHIND_PROXY", default=False):
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")

CONTENT_SECURITY_POLICY = {"DIRECTIVES": {"default-src": ["'self'"], "frame-ancestors": ["'none'"]}}

BIND = env.str("DIST_TASK_BIND", default="127.0.0.1")
"""The address the web server listens on. What the API allows without a token depends on it, never on the client."""
LOOPBACK = BIND in ("127.0.0.1", "::1", "localhost")

DIST_TASK = {
    "ANONYMOUS_API": not PRODUCTION and LOOPBACK,
    "MAX_BODY_BYTES": env.int("MAX_BODY_BYTES", default=1_048_576),
    "ALLOW_PRIVATE_TARGETS": not PRODUCTION,
    "ALLOWED_HOSTS_OUT": tuple(env.list("ALLOWED_HOSTS_OUT", default=[] if PRODUCTION else ["*"])),
    "CONNECTIONS": deployed.connections(os.environ.get("DIST_TASK_CONNECTIONS", "")),
    "TASK_MODULES": tuple(env.list("TASK_MODULES", default=[])),
    "PYTHON_PROCESSES": env.int("PYTHON_PROCESSES", default=2),
    "PUBLIC_URL": env.str("DIST_TASK_PUBLIC_URL", default="" if PRODUCTION else "http://127.0.0.1:8080"),
    "SECRETS_DIR": env.str("DIST_TASK_SECRETS_DIR", default=""),
    "SECRETS_KEYS": secrets_keys(),
    "STOP_GRACE_SECONDS": env.float("STOP_GRACE_SECONDS", default=30.0 if PRODUCTION else 5.0),
    "FOUR_EYES": profiles.four_eyes(env.str("DIST_TASK_FOUR_EYES", default="")),
    "FOUR_EYES_HOURS": env.float("DIST_TASK_FOUR_EYES_HOURS", default=24.0),
    "LEASE_SECONDS": env.float("LEASE_SECONDS", default=15.0),
    "DRAIN_SECONDS": env.float("DRAIN_SECONDS", default=600.0),
}

Q_CLUSTER = {
    "name": "dist_task",
    "orm": "default",
    "workers": env.int("CLUSTER_WORKERS", default=2),
    # Drains linger: their time box ends them, never django-q2. A redelivered message would only start one more drain.
    "timeout": 43_200,
    "retry": 86_400,
    "ack_failures": True,
    "max_attempts": 1,
    "bulk": 1,
    "queue_limit": 1,
    "catch_up": False,
    "save_limit": -1,
    "recycle": 50,
    "poll": 0.5,
    "ALT_CLUSTERS": {},
}

KNOX_TOKEN_MODEL = "knox.AuthToken"  # noqa: S105  # a model
REST_KNOX = {
    "AUTH_HEADER_PREFIX": "Bearer",
    "TOKEN_LIMIT_PER_USER": None,
    "TOKEN_TTL": timedelta(days=90),
    "AUTO_REFRESH": False,
}

# Of alerts that go by e-mail; without it there is no mail server.
EMAIL_HOST = ""
if email_url := env.str("EMAIL_URL", default=""):
    globals().update(env.email_url_config(email_url))
EMAIL_TIMEOUT = 15
DEFAULT_FROM_EMAIL = SERVER_EMAIL = env.str("EMAIL_FROM", default="dist_task@localhost")

CSRF_FAILURE_VIEW = "dist_task.console.refusals.csrf_failure"
REST_FRAMEWORK = {
    "DEFAULT_RENDERER_CLASSES": ["dist_task.envelope.EnvelopeRenderer"],
    "DEFAULT_PARSER_CLASSES": ["dist_task.wire.StrictJSONParser"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "dist_task.wire.OnlyJSON",
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "dist_task.authentication.BearerToken",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["dist_task.roles.RolePermission"],
    "DEFAULT_PAGINATION_CLASS": "dist_task.paging.EnvelopePagination",
    "DEFAULT_METADATA_CLASS": "dist_task.wire.Methods",
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "dist_task.envelope.exception_handler",
    "URL_FORMAT_OVERRIDE": None,
    "UNAUTHENTICATED_USER": "django.contrib.auth.models.AnonymousUser",
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
    "TEST_REQUEST_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
}

SPECTACULAR_SETTINGS = {
    "TITLE": "dist_task",
    "VERSION": "v1",
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "DESCRIPTION": "Distributed transactions that a team can see, retry, skip and undo.",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["dist_task.roles.RolePermission"],
    "SERVE_AUTHENTICATION": None,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
    "COMPONENT_SPLIT_REQUEST": False,
    "PREPROCESSING_HOOKS": ["dist_task.schema.without_slashes"],
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "dist_task.schema.with_envelope",
    ],
    "ENUM_NAME_OVERRIDES": {
        "TransactionStatus": "dist_task.states.TransactionStatus",
        "CompensationStatus": "dist_task.states.CompensationStatus",
        "RunStatus": "dist_task.states.RunStatus",
        "ExceptionStatus": "dist_task.states.ExceptionStatus",
        "Resolution": "dist_task.states.Resolution",
        "DeliveryEvent": "dist_task.alerts.words.DeliveryEvent",
        "DeliveryStatus": "dist_task.alerts.words.DeliveryStatus",
        "RuleState": "dist_task.alerts.words.RuleState",
        "RuleKind": "dist_task.alerts.words.RuleKind",
        "ChannelKind": "dist_task.alerts.words.ChannelKind",
        "BatchStatus": "dist_task.batches.words.BatchStatus",
        "ItemStatus": "dist_task.batches.words.ItemStatus",
        "BatchTarget": "dist_task.batches.words.Target",
        "BatchEvent": "dist_task.batches.words.BatchEvent",
        "ApprovalRequestStatus": "dist_task.four_eyes.words.RequestStatus",
        "FourEyesAct": "dist_task.four_eyes.words.Act",
    },
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "stream": sys.stderr, "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": env.str("LOG_LEVEL", default="INFO")},
    "loggers": {
        "django_q": {"level": "WARNING"},
        "django-q": {"level": "WARNING"},
        "axes": {"level": "WARNING"},
        "django.request": {"level": "ERROR"},  # what a client did wrong is told to the client
    },
}
