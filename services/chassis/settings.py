"""Settings from the environment, checked at the start; a wrong one ends the process in one line."""

import os
import re
import socket
import sys
from pathlib import Path
from typing import Annotated, Any, ClassVar, Never, TypeVar

from pydantic import AfterValidator, Field, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from services.chassis import crash_points

PREFIX = "JIEYOU_"
_EXIT_CODE = 2
_ADDRESS = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:]+\]):(\d{1,5})")


def _addresses(value: str) -> str:
    for address in value.split(","):
        match = _ADDRESS.fullmatch(address)
        if match is None or not 0 < int(match[1]) < 65_536:
            raise ValueError("must be host:port, or several with commas between and no spaces")
    return value


def _mongo_url(value: SecretStr) -> SecretStr:
    if not value.get_secret_value().startswith(("mongodb://", "mongodb+srv://")):
        raise ValueError("must begin with mongodb:// or mongodb+srv://")
    return value


def _http_url(value: SecretStr) -> SecretStr:
    if not re.fullmatch(r"(?:https?://[^\s/]+\S*)?", value.get_secret_value()):
        raise ValueError("must begin with http:// or https:// and name a host")
    return value


def _long_secret(value: SecretStr) -> SecretStr:
    if not re.fullmatch(r"(?:[0-9a-f]{2}){32,}", value.get_secret_value()):
        raise ValueError("must be at least 32 random bytes in hexadecimal digits (openssl rand)")
    return value


def _level(value: str) -> str:
    if value.upper() not in {"DEBUG", "INFO", "WARNING", "ERROR"}:
        raise ValueError("must be one of DEBUG, INFO, WARNING, ERROR")
    return value.upper()


HexSecret = Annotated[SecretStr, AfterValidator(_long_secret)]
"""A secret of 32 bytes or more, as hexadecimal digits, from NAME or from the file NAME_FILE."""


class SecretFileSource(EnvSettingsSource):
    """Reads `JIEYOU_NAME_FILE` for each secret field, as container platforms hand secrets over."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Return the content of the file that NAME_FILE names, else what NAME holds."""
        value, key, is_complex = super().get_field_value(field, field_name)
        if field.annotation is not SecretStr:
            return value, key, is_complex
        variable = f"{PREFIX}{field_name.upper()}_FILE"
        path = os.environ.get(variable)
        if not path:
            return value, key, is_complex
        if value is not None:
            raise SettingsError(
                f"{variable}: {PREFIX}{field_name.upper()} is set too; unset one of them"
            )
        try:
            return Path(path).read_text(encoding="utf-8").strip(), key, False
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or "it is no text"
            raise SettingsError(
                f"{variable}: the file cannot be read ({why}); name a readable file"
            ) from None


class ServiceSettings(BaseSettings):
    """What every service is told. Units stand in the names; defaults fit one machine."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, frozen=True, extra="ignore", env_ignore_empty=True
    )
    service: ClassVar[str] = "service"

    kafka_url: Annotated[str, AfterValidator(_addresses)] = Field(
        "127.0.0.1:9092", examples=["127.0.0.1:9092"]
    )
    mongo_url: Annotated[SecretStr, AfterValidator(_mongo_url)] = Field(
        SecretStr("mongodb://127.0.0.1:27017"), examples=["mongodb://127.0.0.1:27017"]
    )
    profile: str = Field("zhoukou", min_length=1, examples=["zhoukou"])
    host: str = Field("127.0.0.1", min_length=1, examples=["127.0.0.1"])
    port: int = Field(0, ge=0, le=65_535, examples=["8801"])
    keys_file: Path = Field(Path(".jieyou/keys.json"), examples=[".jieyou/keys.json"])
    instance: str = Field(
        default_factory=lambda: f"{socket.gethostname()}-{os.getpid()}"[:64],
        pattern=r"^[A-Za-z0-9._-]{1,64}$",
        examples=["triage-1"],
    )
    log_level: Annotated[str, AfterValidator(_level)] = Field("INFO", examples=["INFO"])
    alarm_url: Annotated[SecretStr, AfterValidator(_http_url)] = Field(
        SecretStr(""), examples=["https://alarm.example.cn/robot?key=..."]
    )
    """Where alarms are posted (`services.chassis.alarms`); they hold no personal data. A secret,
    since the robots' addresses hold their keys."""
    publish_timeout_seconds: float = Field(2.0, gt=0, le=60, examples=["2"])
    stop_timeout_seconds: float = Field(20.0, ge=2, le=600, examples=["20"])
    body_limit_bytes: int = Field(65_536, ge=1_024, le=16_777_216, examples=["65536"])

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take values given in code, then the environment with its secret files; nothing else."""
        return init_settings, SecretFileSource(settings_cls)


SettingsType = TypeVar("SettingsType", bound=ServiceSettings)


def load(kind: type[SettingsType]) -> SettingsType:
    """Read the settings, or say in one line on standard error what is wrong and end with code 2."""
    try:
        crash_points.arm()
        return kind()
    except crash_points.UnknownPoint as error:
        refuse(str(error))
    except ValidationError as error:
        refuse(_one_line(kind, error))
    except SettingsError as error:
        refuse(str(error.__cause__ or error))


def refuse(line: str) -> Never:
    """End the process for a wrong setting: one line on standard error, exit code 2."""
    print(f"jieyou: {' '.join(line.split())}", file=sys.stderr)
    raise SystemExit(_EXIT_CODE)


def _one_line(kind: type[ServiceSettings], error: ValidationError) -> str:
    errors = error.errors(include_input=False, include_url=False)
    first = errors[0]
    name = str(first["loc"][0]) if first["loc"] else ""
    variable = f"{PREFIX}{name.upper()}"
    field = kind.model_fields.get(name)
    is_secret = field is not None and field.annotation is SecretStr
    why = "is not set" if first["type"] == "missing" else _why(first["msg"])
    if first["type"] == "missing" and is_secret:
        fix = f"set it, or name its file in {variable}_FILE"
    elif field is not None and field.examples:
        fix = f"for example {variable}={field.examples[0]}"
    else:
        fix = f"correct {variable} or its file" if is_secret else f"correct {variable}"
    more = f" ({len(errors) - 1} more after this one)" if len(errors) > 1 else ""
    return f"{variable}: {why}; {fix}{more}"


def _why(message: str) -> str:
    message = message.removeprefix("Value error, ").replace("Input should", "should")
    return message[:1].lower() + message[1:]
