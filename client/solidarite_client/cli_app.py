"""Puts the command together: the verbs of the client, those of the server when it is installed, errors in French."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import entry_points, version
from typing import Annotated, Any

import typer

from solidarite_client._os_errors import os_error_text

VERBS = "solidarite.verbs"
"""Entry points of this group are functions `register(app: typer.Typer)`: the client never imports the server."""

ALONE = "solidarite.verbs.alone"
"""Entry points of this group register the verb they are named after without any other: half of the time that a verb
takes to start goes into the others."""

DEBUG = "SOLIDARITE_DEBUG"
"""Set in the environment, it shows the traceback of what was not foreseen."""

_SERVER_HINT = (
    'les commandes du serveur (demo, serve, compute, store) demandent : pip install "solidarite-source[server]"'
)


def build_app(verb: str = "") -> tuple[typer.Typer, list[str]]:
    """The application, and the modules missing to the verbs that could not be loaded.

    Given the verb asked for, it may hold no other.
    """
    app = typer.Typer(
        name="solidarite",
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
    )
    app.callback()(_options)
    for entry in entry_points(group=ALONE, name=verb):
        entry.load()(app)
        return app, []
    from solidarite_client import cli_declaration, cli_foyer, cli_ingest, cli_records

    for verbs in (cli_ingest, cli_records, cli_foyer, cli_declaration):
        verbs.register(app)
    missing = []
    for entry in entry_points(group=VERBS):
        try:
            register: Callable[[typer.Typer], None] = entry.load()
        except ModuleNotFoundError as error:
            missing.append(error.name or entry.name)
        else:
            register(app)
    return app, missing


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"solidarite-source {version('solidarite-source')}")
        raise typer.Exit


def _options(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Afficher la version.")
    ] = False,
) -> None:
    """Solidarité à la source : ressources mensuelles, déclaration préremplie, RSA et prime d'activité expliqués."""


def run(arguments: Sequence[str]) -> int:
    """Run the command and turn everything that goes wrong into a sentence on stderr and an exit code."""
    app, missing = build_app(arguments[0] if arguments else "")
    command = typer.main.get_command(app)
    _speak_french(command)
    try:
        outcome = command.main(list(arguments), prog_name="solidarite", standalone_mode=False)
    except KeyboardInterrupt:
        return _complain("interrompu", 130)
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output has gone: nobody is left to tell
        return 1
    except OSError as error:
        return _complain(f"{error.filename} : {os_error_text(error)}" if error.filename else os_error_text(error), 1)
    except Exception as error:
        return _explain(error, missing)
    return outcome if isinstance(outcome, int) else 0


def _explain(error: Exception, missing: Sequence[str]) -> int:
    # Typer brings its own copy of click from some version on, or uses the real one: tell its errors by their names.
    kind = type(error).__name__
    if kind == "Exit":
        return int(getattr(error, "exit_code", 0))
    if kind == "Abort":
        return _complain("interrompu", 130)
    if kind == "NoArgsIsHelpError":
        typer.echo(getattr(error, "message", ""), err=True)
        return 2
    if hasattr(error, "format_message"):
        _complain(_usage_error(error, missing), 2)
        context = getattr(error, "ctx", None)
        if context is not None:
            typer.echo(f"Aide : {context.command_path} --help", err=True)
        return 2
    from solidarite_client.errors import CallError, SolidariteError

    if not isinstance(error, SolidariteError):
        if os.environ.get(DEBUG):
            raise error
        return _complain(f"imprévue ({kind}) ; avec {DEBUG}=1, la commande en montre le détail", 1)
    message = str(error)
    if isinstance(error, CallError) and error.field:
        message += f" (champ {error.field})"
    return _complain(message, 1)


def _complain(message: str, code: int) -> int:
    typer.echo(f"Erreur : {message}", err=True)
    return code


def _usage_error(error: Any, missing: Sequence[str]) -> str:
    kind = type(error).__name__
    if kind == "NoSuchOption":
        close = ", ".join(error.possibilities or ())
        return f"option inconnue : {error.option_name}" + (f" (peut-être {close})" if close else "")
    if kind == "MissingParameter":
        names = getattr(error.param, "opts", None) or [getattr(error.param, "name", "")]
        what = "option obligatoire absente" if str(names[0]).startswith("-") else "argument obligatoire absent"
        return f"{what} : {_shown(str(names[0]))}"
    if kind == "BadParameter":
        names = getattr(error.param, "opts", None) or [error.param_hint]
        return f"valeur refusée pour {_shown(names[0])} : {_expected(error)}" if names[0] else str(error.message)
    if kind == "BadOptionUsage":
        takes = "ne prend pas de" if "does not take" in error.message else "attend une"
        return f"l'option {error.option_name} {takes} valeur"
    if "unexpected extra argument" in error.message:
        return "arguments en trop : l'aide dit ceux qui sont attendus"
    if "No such command" in error.message:
        return "commande inconnue" + (f" ; {_SERVER_HINT}" if missing else "")
    return str(error.format_message())


def _shown(name: str) -> str:
    """An option as it is typed, an argument as the help shows it."""
    return name if name.startswith("-") else name.upper()


def _expected(error: Any) -> str:
    """What a value refused should have been: typer's own words, which are English, come from a pydantic error."""
    if error.message.endswith("is not readable."):
        return "ce fichier ne peut pas être lu par ce compte"
    details = getattr(error.__cause__, "errors", None)
    if details is None:
        return str(error.message)
    detail = details(include_url=False, include_input=False)[0]
    limits = detail.get("ctx", {})
    if "ge" in limits:
        return f"attendu : {limits['ge']} ou plus"
    if "le" in limits:
        return f"attendu : {limits['le']} au plus"
    if detail["type"].startswith("int"):
        return "attendu : un nombre entier"
    return "attendu : un nombre" if detail["type"].startswith("float") else "attendu : une valeur d'une autre forme"


def _speak_french(command: Any) -> None:
    """Have a command and those below it write their help in French."""
    help_option, format_help = command.get_help_option, command.format_help

    def option_in_french(context: Any) -> Any:
        option = help_option(context)
        if option is not None:
            option.help = "Afficher cette aide."
        return option

    def help_in_french(context: Any, formatter: Any) -> None:
        _replace_words()
        format_help(context, formatter)

    command.get_help_option, command.format_help = option_in_french, help_in_french
    for inner in getattr(command, "commands", {}).values():
        _speak_french(inner)


def _replace_words() -> None:
    """Replace the few English words that typer writes by itself."""
    # Imported for a help alone: rich takes longer to load than the rest of the command.
    import typer.rich_utils

    words = {
        "DEFAULT_STRING": "[défaut : {}]",
        "ENVVAR_STRING": "[variable : {}]",
        "REQUIRED_LONG_STRING": "[obligatoire]",
        "COMMANDS_PANEL_TITLE": "Commandes",
        "DEPRECATED_STRING": "(obsolète) ",
    }
    for name, word in words.items():
        if hasattr(typer.rich_utils, name):
            setattr(typer.rich_utils, name, word)
