"""Every setting, read once from the environment by an entry point and handed down. The only module that reads it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from iris_service.errors import SettingsError
from iris_service.variables import Variables

DEFAULT_REDIS_URL = "redis://127.0.0.1:6379/0"


@dataclass(frozen=True)
class RedisSettings:
    """How to reach Redis or Valkey."""

    url: str = DEFAULT_REDIS_URL
    """IRIS_REDIS_URL: redis://, rediss:// (TLS), unix://, sentinel:// or sentinels://; user and password inside."""
    ca_file: str = ""
    """IRIS_REDIS_CA_FILE: PEM file of who signed the server's certificate; empty trusts whom the system trusts."""
    timeout_seconds: float = 0.6
    """IRIS_REDIS_TIMEOUT_SECONDS: longest wait of the API for one reply; callers get their 503 within 2 s."""


@dataclass(frozen=True)
class ModelSettings:
    """Which model version is served, and where versions are found."""

    repository: Path = Path("models")
    """IRIS_MODELS: folder with <model>/<version>/card.json."""
    name: str = "iris"
    """IRIS_MODEL."""
    version: str = "1"
    """IRIS_MODEL_VERSION: what the API routes to, and what a worker serves."""
    artifact_format: str = "onnx"
    """IRIS_MODEL_FORMAT: onnx, skops, joblib or pickle; the format is never guessed."""
    digest: str = ""
    """IRIS_MODEL_DIGEST: sha256:... that the artifact must have, whatever its card says; empty trusts the card."""
    allow_pickle: bool = False
    """IRIS_ALLOW_PICKLE: a pickle runs its author's code when loaded; even so its digest must match the card."""


@dataclass(frozen=True)
class JobSettings:
    """The life of a job: shared by API, worker and recovery, so set them alike."""

    timeout_seconds: int = 10
    """IRIS_JOB_TIMEOUT_SECONDS: longest one job may run; the shorter of the API's and the worker's holds."""
    attempts: int = 5
    """IRIS_JOB_ATTEMPTS: runs a job gets when workers die under it, the first included."""
    deadline_seconds: int = 3600
    """IRIS_JOB_DEADLINE_SECONDS: a job not answered by then is answered EXPIRED."""
    result_ttl_seconds: int = 3600
    """IRIS_RESULT_TTL_SECONDS: how long an answer can be fetched."""
    queue_limit: int = 100_000
    """IRIS_QUEUE_LIMIT: waiting jobs of one version beyond which requests get 429; 1.2 KB of Redis memory each."""
    memory_limit_ratio: float = 0.8
    """IRIS_MEMORY_LIMIT_RATIO: share of Redis' maxmemory beyond which requests get 503, so that workers can drain."""


@dataclass(frozen=True)
class ApiSettings:
    """The HTTP side. Every limit is refused with a clear 4xx."""

    host: str = "127.0.0.1"
    """IRIS_HOST."""
    port: int = 8000
    """IRIS_PORT; 0 asks the system for a free one."""
    max_body_bytes: int = 1_048_576
    """IRIS_MAX_BODY_BYTES: larger bodies get 413."""
    max_rows: int = 1000
    """IRIS_MAX_ROWS: more rows in one request get 413."""
    max_query_bytes: int = 4096
    """IRIS_MAX_QUERY_BYTES: longer query strings get 414."""
    max_wait_seconds: float = 30.0
    """IRIS_MAX_WAIT_SECONDS: upper bound of ?wait=."""
    sync_wait_seconds: float = 30.0
    """IRIS_SYNC_WAIT_SECONDS: longest a V2 infer request waits for its answer; then 504, and the job goes on."""
    max_json_depth: int = 32
    """IRIS_MAX_JSON_DEPTH: a body with lists and objects nested more deeply gets 400."""
    max_head_bytes: int = 16_384
    """IRIS_MAX_HEAD_BYTES: a longer request line with its headers gets 431."""
    receive_seconds: float = 10.0
    """IRIS_RECEIVE_SECONDS: a request, or the first one of a connection, that has not arrived by then gets 408."""
    send_seconds: float = 30.0
    """IRIS_SEND_SECONDS: who takes none of his answer for so long is hung up on."""
    keep_alive_seconds: int = 65
    """IRIS_KEEP_ALIVE_SECONDS: an idle connection is kept so long; more than the 60 s of common proxies, for who closes
    first should be the one who sends the next request."""
    max_connections: int = 4096
    """IRIS_MAX_CONNECTIONS: one more takes the place of the one that has been idle for longest; while all are being
    answered it gets 503."""
    max_bodies_bytes: int = 67_108_864
    """IRIS_MAX_BODIES_BYTES: bytes of request bodies in hand at one time; who sends more gets 503."""
    stop_seconds: int = 10
    """IRIS_STOP_SECONDS: how long running requests have when the process is asked to stop."""
    drain_seconds: float = 0.0
    """IRIS_DRAIN_SECONDS: how long a stopping API still serves, with /readyz at 503, so that proxies look elsewhere."""


@dataclass(frozen=True)
class InlineSettings:
    """Whether API processes answer V2 inference requests themselves, and how much of it."""

    sync: str = "queue"
    """IRIS_SYNC: queue, every request becomes a job; or inline (extra `inline`), the API answers itself what it can."""
    rows: int = 64
    """IRIS_INLINE_ROWS: a request with more rows takes the queue, for nobody else is served while the model works."""
    versions: int = 8
    """IRIS_INLINE_VERSIONS: no more versions than these are loaded; requests for others take the queue."""
    artifact_bytes: int = 67_108_864
    """IRIS_INLINE_BYTES: nor more than this in artifacts, all together; loaded, a forest takes eight times that."""

    @property
    def is_on(self) -> bool:
        return self.sync == "inline"


@dataclass(frozen=True)
class AccessSettings:
    """Who may use the API, and how much of it one caller may. Limits are of each process."""

    mode: str = "none"
    """IRIS_AUTH: none, api-key, or tokenreview (the tokens of Kubernetes ServiceAccounts)."""
    keys_file: Path | None = None
    """IRIS_API_KEYS_FILE: a line `name:sha256:<64 hexadecimal digits>` for each key; read again when it changes."""
    audience: str = "iris"
    """IRIS_TOKEN_AUDIENCE: what a ServiceAccount's token must have been made for."""
    token_cache_seconds: float = 60.0
    """IRIS_TOKEN_CACHE_SECONDS: how long a good token is not asked about again, and so how late a revoked one is."""
    api_server: str = ""
    """host:port of the Kubernetes API, from KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT."""
    service_account: Path = Path("/var/run/secrets/kubernetes.io/serviceaccount")
    """IRIS_SERVICE_ACCOUNT_FOLDER: this pod's own `token` and `ca.crt`, with which it asks about others' tokens."""
    caller_rate: float = 0.0
    """IRIS_CALLER_RATE: requests a second of one caller, who may save up one second of them; 0 is no limit."""
    caller_in_flight: int = 1000
    """IRIS_CALLER_IN_FLIGHT: requests of one caller at the same time, those that wait for an answer included."""


@dataclass(frozen=True)
class ClientSettings:
    """What `iris predict --url` brings along."""

    api_key: str = field(default="", repr=False)
    """IRIS_API_KEY: the key, or token, that a server with IRIS_AUTH asks for."""


@dataclass(frozen=True)
class WorkerSettings:
    """One worker process."""

    batch_size: int = 256
    """IRIS_BATCH_SIZE: most jobs answered by one call of the model."""
    max_rss_bytes: int = 1_073_741_824
    """IRIS_WORKER_MAX_RSS_BYTES: a worker that grows beyond it is ended; 0 switches the check off."""
    extra_tasks: tuple[str, ...] = ()
    """IRIS_EXTRA_TASKS: dotted names, comma separated, of other functions this worker may run, on RQ's stock path."""


@dataclass(frozen=True)
class MetricsSettings:
    """A port for machines, apart from the one for callers."""

    host: str = "127.0.0.1"
    """IRIS_METRICS_HOST."""
    port: int | None = None
    """IRIS_METRICS_PORT: /metrics, for worker and recovery /healthz too; 0 asks the system for a port. Unset, there is
    none, and the API has /metrics among its other pages."""


@dataclass(frozen=True)
class DriftSettings:
    """How a worker compares what it is asked with the training data: what it has answered lately, bounded twice."""

    window_rows: int = 100_000
    """IRIS_DRIFT_WINDOW_ROWS: no more rows than these are compared."""
    window_seconds: float = 3600.0
    """IRIS_DRIFT_WINDOW_SECONDS: and none that is older."""
    minimum_rows: int = 500
    """IRIS_DRIFT_MIN_ROWS: with fewer there is no figure: of 200, chance alone takes one window in 56 past 0.1.
    At most half of IRIS_DRIFT_WINDOW_ROWS, or figures would come and go with each step of the window."""


@dataclass(frozen=True)
class TracingSettings:
    """Whether spans leave this process. Everything else about them is in OpenTelemetry's own variables."""

    endpoint: str = ""
    """OTEL_EXPORTER_OTLP_TRACES_ENDPOINT, else OTEL_EXPORTER_OTLP_ENDPOINT; empty too where OTEL_SDK_DISABLED is true
    or OTEL_TRACES_EXPORTER names other exporters than otlp."""
    protocol: str = "http/protobuf"
    """OTEL_EXPORTER_OTLP_TRACES_PROTOCOL, else OTEL_EXPORTER_OTLP_PROTOCOL."""


@dataclass(frozen=True)
class LogSettings:
    """One JSON line per outcome, or coloured lines on a terminal."""

    level: str = "INFO"
    """IRIS_LOG_LEVEL: DEBUG, INFO, WARNING or ERROR."""
    format: str = "auto"
    """IRIS_LOG_FORMAT: json, console, or auto (console on a terminal)."""


@dataclass(frozen=True)
class Settings:
    """All settings; `from_env` is the only way they come from outside."""

    redis: RedisSettings = field(default_factory=RedisSettings)
    model: ModelSettings = field(default_factory=ModelSettings)
    jobs: JobSettings = field(default_factory=JobSettings)
    api: ApiSettings = field(default_factory=ApiSettings)
    inline: InlineSettings = field(default_factory=InlineSettings)
    access: AccessSettings = field(default_factory=AccessSettings)
    client: ClientSettings = field(default_factory=ClientSettings)
    worker: WorkerSettings = field(default_factory=WorkerSettings)
    metrics: MetricsSettings = field(default_factory=MetricsSettings)
    drift: DriftSettings = field(default_factory=DriftSettings)
    tracing: TracingSettings = field(default_factory=TracingSettings)
    log: LogSettings = field(default_factory=LogSettings)

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> Settings:
        """Read IRIS_* variables; raises `SettingsError` naming the first one that cannot be used.

        An unknown IRIS_ variable is an error too: a misspelt limit must not be silently ignored.
        """
        read = Variables(os.environ if env is None else env)
        settings = cls(
            redis=RedisSettings(
                url=read.redis_url("IRIS_REDIS_URL", RedisSettings.url),
                ca_file=read.file("IRIS_REDIS_CA_FILE"),
                timeout_seconds=read.number("IRIS_REDIS_TIMEOUT_SECONDS", RedisSettings.timeout_seconds, 0.05, 60),
            ),
            model=ModelSettings(
                repository=Path(read.text("IRIS_MODELS", str(ModelSettings.repository))),
                name=read.text("IRIS_MODEL", ModelSettings.name),
                version=read.text("IRIS_MODEL_VERSION", ModelSettings.version),
                artifact_format=read.choice("IRIS_MODEL_FORMAT", ("onnx", "skops", "joblib", "pickle")),
                digest=read.digest("IRIS_MODEL_DIGEST"),
                allow_pickle=read.switch("IRIS_ALLOW_PICKLE"),
            ),
            jobs=JobSettings(
                timeout_seconds=read.whole("IRIS_JOB_TIMEOUT_SECONDS", JobSettings.timeout_seconds, 1, 86_400),
                attempts=read.whole("IRIS_JOB_ATTEMPTS", JobSettings.attempts, 1, 100),
                deadline_seconds=read.whole("IRIS_JOB_DEADLINE_SECONDS", JobSettings.deadline_seconds, 1, 604_800),
                result_ttl_seconds=read.whole("IRIS_RESULT_TTL_SECONDS", JobSettings.result_ttl_seconds, 1, 604_800),
                queue_limit=read.whole("IRIS_QUEUE_LIMIT", JobSettings.queue_limit, 1, 10_000_000),
                memory_limit_ratio=read.number("IRIS_MEMORY_LIMIT_RATIO", JobSettings.memory_limit_ratio, 0.01, 1.0),
            ),
            api=ApiSettings(
                host=read.text("IRIS_HOST", ApiSettings.host),
                port=read.whole("IRIS_PORT", ApiSettings.port, 0, 65_535),
                max_body_bytes=read.whole("IRIS_MAX_BODY_BYTES", ApiSettings.max_body_bytes, 1, 1 << 30),
                max_rows=read.whole("IRIS_MAX_ROWS", ApiSettings.max_rows, 1, 1_000_000),
                max_query_bytes=read.whole("IRIS_MAX_QUERY_BYTES", ApiSettings.max_query_bytes, 1, 65_536),
                max_wait_seconds=read.number("IRIS_MAX_WAIT_SECONDS", ApiSettings.max_wait_seconds, 0, 3600),
                sync_wait_seconds=read.number("IRIS_SYNC_WAIT_SECONDS", ApiSettings.sync_wait_seconds, 0.05, 3600),
                max_json_depth=read.whole("IRIS_MAX_JSON_DEPTH", ApiSettings.max_json_depth, 4, 200),
                max_head_bytes=read.whole("IRIS_MAX_HEAD_BYTES", ApiSettings.max_head_bytes, 1024, 1 << 20),
                receive_seconds=read.number("IRIS_RECEIVE_SECONDS", ApiSettings.receive_seconds, 0.1, 600),
                send_seconds=read.number("IRIS_SEND_SECONDS", ApiSettings.send_seconds, 0.1, 600),
                keep_alive_seconds=read.whole("IRIS_KEEP_ALIVE_SECONDS", ApiSettings.keep_alive_seconds, 1, 3600),
                max_connections=read.whole("IRIS_MAX_CONNECTIONS", ApiSettings.max_connections, 1, 1_000_000),
                max_bodies_bytes=read.whole("IRIS_MAX_BODIES_BYTES", ApiSettings.max_bodies_bytes, 1, 1 << 40),
                stop_seconds=read.whole("IRIS_STOP_SECONDS", ApiSettings.stop_seconds, 1, 600),
                drain_seconds=read.number("IRIS_DRAIN_SECONDS", ApiSettings.drain_seconds, 0, 600),
            ),
            inline=InlineSettings(
                sync=read.choice("IRIS_SYNC", ("queue", "inline")),
                rows=read.whole("IRIS_INLINE_ROWS", InlineSettings.rows, 1, 1000),
                versions=read.whole("IRIS_INLINE_VERSIONS", InlineSettings.versions, 1, 500),
                artifact_bytes=read.whole("IRIS_INLINE_BYTES", InlineSettings.artifact_bytes, 1, 1 << 40),
            ),
            access=AccessSettings(
                mode=read.choice("IRIS_AUTH", ("none", "api-key", "tokenreview")),
                keys_file=read.optional_path("IRIS_API_KEYS_FILE"),
                audience=read.text("IRIS_TOKEN_AUDIENCE", AccessSettings.audience),
                token_cache_seconds=read.number("IRIS_TOKEN_CACHE_SECONDS", AccessSettings.token_cache_seconds, 0, 60),
                api_server=read.host_and_port("KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"),
                service_account=Path(read.text("IRIS_SERVICE_ACCOUNT_FOLDER", str(AccessSettings.service_account))),
                caller_rate=read.number("IRIS_CALLER_RATE", AccessSettings.caller_rate, 0, 1_000_000),
                caller_in_flight=read.whole("IRIS_CALLER_IN_FLIGHT", AccessSettings.caller_in_flight, 1, 1_000_000),
            ),
            client=ClientSettings(api_key=read.header("IRIS_API_KEY")),
            worker=WorkerSettings(
                batch_size=read.whole("IRIS_BATCH_SIZE", WorkerSettings.batch_size, 1, 2048),
                max_rss_bytes=read.whole("IRIS_WORKER_MAX_RSS_BYTES", WorkerSettings.max_rss_bytes, 0, 1 << 50),
                extra_tasks=read.names("IRIS_EXTRA_TASKS"),
            ),
            metrics=MetricsSettings(
                host=read.text("IRIS_METRICS_HOST", MetricsSettings.host),
                port=read.optional_port("IRIS_METRICS_PORT"),
            ),
            drift=DriftSettings(
                window_rows=read.whole("IRIS_DRIFT_WINDOW_ROWS", DriftSettings.window_rows, 1000, 10_000_000),
                window_seconds=read.number("IRIS_DRIFT_WINDOW_SECONDS", DriftSettings.window_seconds, 60, 2_592_000),
                minimum_rows=read.whole("IRIS_DRIFT_MIN_ROWS", DriftSettings.minimum_rows, 100, 500_000),
            ),
            tracing=_tracing(read),
            log=LogSettings(
                level=read.choice("IRIS_LOG_LEVEL", ("INFO", "DEBUG", "WARNING", "ERROR")),
                format=read.choice("IRIS_LOG_FORMAT", ("auto", "json", "console")),
            ),
        )
        settings._refuse_contradictions()
        read.refuse_unknown()
        return settings

    def _refuse_contradictions(self) -> None:
        if self.drift.minimum_rows > self.drift.window_rows / 2:
            name = "IRIS_DRIFT_MIN_ROWS"
            raise SettingsError(f"{name} must be at most half of IRIS_DRIFT_WINDOW_ROWS", field=name)
        if self.api.max_bodies_bytes < self.api.max_body_bytes:
            name = "IRIS_MAX_BODIES_BYTES"
            raise SettingsError(f"{name} must not be less than IRIS_MAX_BODY_BYTES, one body", field=name)
        if (self.access.mode == "api-key") != (self.access.keys_file is not None):
            name = "IRIS_API_KEYS_FILE"
            raise SettingsError(f"{name} and IRIS_AUTH=api-key need each other", field=name)
        if self.access.mode == "tokenreview" and not self.access.api_server:
            name = "IRIS_AUTH"
            raise SettingsError(
                f"{name}=tokenreview works in a cluster only: KUBERNETES_SERVICE_HOST is not set", field=name
            )


def environment(overrides: Mapping[str, str]) -> dict[str, str]:
    """This process' environment with some variables replaced: for options of a command, and for child processes."""
    return {**os.environ, **overrides}


def _tracing(variables: Variables) -> TracingSettings:
    """Read what others define too, and refuse nothing: a cluster may set these for every pod."""

    def of_traces(what: str) -> str:
        return variables.text(f"OTEL_EXPORTER_OTLP_TRACES_{what}", variables.text(f"OTEL_EXPORTER_OTLP_{what}", ""))

    disabled = variables.text("OTEL_SDK_DISABLED", "").lower() == "true"
    wanted = not disabled and "otlp" in variables.text("OTEL_TRACES_EXPORTER", "otlp").split(",")
    return TracingSettings(
        endpoint=of_traces("ENDPOINT") if wanted else "",
        protocol=of_traces("PROTOCOL") or TracingSettings.protocol,
    )


def without_password(url: str) -> str:
    """The URL as it may be shown and logged."""
    shown = url.partition("?")[0]  # a Sentinel's password may follow
    parts = urlsplit(shown)
    if parts.password is None:
        return shown
    host = parts.netloc.rsplit("@", 1)[-1]
    return parts._replace(netloc=f"{parts.username or ''}:***@{host}").geturl()
