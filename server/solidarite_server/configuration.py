"""Reads the settings as an operator gave them: names what is refused in French, tells where each value comes from."""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationError
from solidarite_client._os_errors import os_error_text

from solidarite_server.settings import CONFIG_VARIABLE, PREFIX, Settings

# Variables of the client's verbs and of the tools beside the server: known, and not settings.
OTHER_VARIABLES = frozenset(
    {"AUTH_DIR", "CONFIG", "DEBUG", "SERVER", "SOURCE", "SPOOL", "TLS_CA", "TLS_CERT", "TLS_KEY", "TOKEN_FILE"}
)
# Up to the last @ of all: a password may hold one, or a slash, written as it is. libpq also takes it as a parameter,
# and a collector its key.
_SECRETS = re.compile(
    r"(?<=://)([^/@:]*):.*(?=@)|(\b[\w-]*(?:password|key|secret|token)\s*=\s*)(?:'[^']*'|[^&\s]*)", re.IGNORECASE
)


class ConfigurationError(ValueError):
    """Settings refused, each with what is accepted, in French."""


@dataclass(frozen=True, slots=True)
class Explained:
    """A setting as it stands."""

    name: str
    value: str
    """As written in the file; secrets masked."""
    origin: str
    """`option`, `environnement`, `fichier` or `défaut`."""
    documentation: str


def load_settings(flags: Mapping[str, Any] | None = None, config: Path | None = None) -> Settings:
    """The settings: flags that are not None, then `SOLIDARITE_…`, then the file, then defaults.

    Raises ConfigurationError. A file given here is remembered in the environment, for the processes started later.
    """
    if config is not None:
        os.environ[CONFIG_VARIABLE] = str(config)
    given = {name: value for name, value in (flags or {}).items() if value is not None}
    in_file = _file()
    wrong = [_unknown(name, f"le fichier {_file_name()}") for name in in_file if name not in Settings.model_fields]
    wrong += [
        _unknown(name, f"la variable {PREFIX}{name.upper()}")
        for name in _environment()
        if name not in Settings.model_fields and name.upper() not in OTHER_VARIABLES
    ]
    if wrong:
        raise ConfigurationError("\n".join(wrong))
    try:
        return Settings(**given)
    except ValidationError as error:
        raise ConfigurationError("\n".join(_refused(detail, given, in_file) for detail in error.errors())) from None


def explain(settings: Settings, flags: Mapping[str, Any] | None = None) -> list[Explained]:
    """Every setting with its value, where it comes from and what it does."""
    given = {name: value for name, value in (flags or {}).items() if value is not None}
    in_file = _file()
    return [
        Explained(
            name, mask(_written(getattr(settings, name))), _origin(name, given, in_file), _one_line(field.description)
        )
        for name, field in Settings.model_fields.items()
    ]


def environment_of(settings: Settings) -> dict[str, str]:
    """What a process started by this one needs in its environment to have the same settings."""
    every = {name: getattr(settings, name) for name in Settings.model_fields}
    return {PREFIX + name.upper(): _written(value) for name, value in every.items() if value is not None}


def documentation_rows() -> list[str]:
    """The table of docs/exploitation.md, a row a setting."""
    rows = []
    for name, field in Settings.model_fields.items():
        default = _written(field.default)
        rows.append(f"| `{name}` | {f'`{default}`' if default else ''} | {_one_line(field.description)} |")
    return rows


def mask(text: str) -> str:
    """A value as it may be shown: the secrets of an address are hidden."""
    return _SECRETS.sub(lambda found: f"{found[2] or found[1] + ':'}***", text)


def _file_name() -> str:
    return Path(os.environ.get(CONFIG_VARIABLE, "")).name


def _unreadable(why: str) -> ConfigurationError:
    return ConfigurationError(f"Le fichier de réglages {_file_name()} ne peut pas être lu : {why}.")


def _file() -> dict[str, Any]:
    path = os.environ.get(CONFIG_VARIABLE)
    if not path:
        return {}
    # It is read again by whoever explains it: a pipe, `--config <(…)`, would be empty by then, and every setting lost.
    if Path(path).exists() and not Path(path).is_file():
        raise _unreadable("un fichier ordinaire est attendu, ni répertoire ni tube")
    try:
        return tomllib.loads(Path(path).read_text("utf-8"))
    except OSError as error:
        raise _unreadable(os_error_text(error)) from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"Le fichier de réglages {_file_name()} n'est pas en UTF-8.") from None
    except tomllib.TOMLDecodeError as error:
        place = re.search(r"line (\d+)", str(error))
        where = f" (ligne {place[1]})" if place else ""
        raise ConfigurationError(f"Le fichier de réglages {_file_name()} n'est pas du TOML valide{where}.") from None


def _environment() -> list[str]:
    # In any case, as pydantic-settings reads them.
    return sorted(name[len(PREFIX) :].lower() for name in os.environ if name.upper().startswith(PREFIX))


def _unknown(name: str, where: str) -> str:
    close = difflib.get_close_matches(name, Settings.model_fields, n=1, cutoff=0.6)
    hint = f" (peut-être {close[0]} ?)" if close else " (la liste : solidarite config --explain)"
    return f"Réglage inconnu dans {where} : {name}{hint}."


def _origin(name: str, given: Mapping[str, Any], in_file: Mapping[str, Any]) -> str:
    if name in given:
        return "option"
    if name in _environment():
        return "environnement"
    return "fichier" if name in in_file else "défaut"


def _written(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)


def _one_line(text: str | None) -> str:
    return " ".join((text or "").split())


def _refused(detail: Any, given: Mapping[str, Any], in_file: Mapping[str, Any]) -> str:
    name = str(detail["loc"][0]) if detail["loc"] else ""
    origin = _origin(name, given, in_file)
    place = {"option": f"--{name.replace('_', '-')}", "environnement": PREFIX + name.upper()}.get(origin, name)
    return f"Réglage {place} refusé : {_accepted(name, detail)}."


def _accepted(name: str, detail: Any) -> str:
    field = Settings.model_fields[name]
    kind = detail["type"]
    if kind == "value_error":
        return str(detail["ctx"]["error"])
    if kind == "literal_error":
        return "attendu une valeur parmi " + ", ".join(map(str, get_args(field.annotation)))
    if field.annotation is bool:
        return "attendu true ou false"
    if field.annotation in (int, float):
        return "attendu " + ("un nombre entier" if field.annotation is int else "un nombre") + _limits(field.metadata)
    return "attendu un texte"


def _limits(bounds: Sequence[Any]) -> str:
    given = {name: getattr(bound, name) for bound in bounds for name in ("gt", "ge", "le") if hasattr(bound, name)}
    low, above, high = given.get("ge"), given.get("gt"), given.get("le")
    if above is not None:
        return f", plus grand que {above}" + (f", {high} au plus" if high is not None else "")
    return f" de {low} à {high}" if high is not None else f", {low} ou plus" if low is not None else ""
