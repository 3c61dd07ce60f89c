"""Settings of the server: one typed class, read from flags, the environment (`SOLIDARITE_…`) and one TOML file.

A flag wins over the environment, the environment over the file named by `SOLIDARITE_CONFIG` or `--config`, the file
over the default. The line under a field is its documentation: `solidarite config --explain` shows it.
"""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from solidarite_server.legislation import Calendrier, LegislationOptions

PREFIX = "SOLIDARITE_"
CONFIG_VARIABLE = "SOLIDARITE_CONFIG"
NO_IDENTITY = (
    "Aucune identité n'est exigée : tout appelant peut tout lire et tout modifier (développement). "
    "« solidarite auth init » crée des identités."
)
"""What a server that asks for no identity says when it starts."""


class Settings(BaseSettings):
    """Everything an operator may set. Unknown keys are refused."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )

    @field_validator("listen", "listen_portals", "metrics_listen", "gateway_listen")
    @classmethod
    def _address(cls, value: str) -> str:
        # gRPC takes 99999 for the port 34463, and answers « abc » in English.
        host, _, port = value.rpartition(":")
        exists = host and re.fullmatch("[0-9]{1,5}", port) and int(port) <= 65_535
        if value and not exists and not value.startswith("unix:"):
            raise ValueError("une adresse s'écrit hôte:port, avec un port de 0 à 65535")
        return value

    @field_validator(
        "pseudonym_key_file", "tls_certificate_file", "tls_key_file", "tls_client_ca_file", "token_keys_file",
        mode="before",
    )  # fmt: skip
    @classmethod
    def _file_or_none(cls, value: object) -> object:
        # A variable left empty means none here too, and not the current directory.
        return None if value == "" else value

    @field_validator("otlp_endpoint")
    @classmethod
    def _endpoint(cls, value: str) -> str:
        # The exporter takes anything, and sends nothing.
        if value and not re.fullmatch(r"https?://[^\s/]+\S*", value):
            raise ValueError("l'adresse du collecteur s'écrit http://hôte:4318/v1/traces, ou en https")
        return value

    @field_validator("readings")
    @classmethod
    def _readings(cls, value: str) -> str:
        reading = LegislationOptions.read(value)
        if reading.calendrier is not LegislationOptions.law().calendrier:
            raise ValueError("le calendrier se choisit par declaration_calendar")
        return value

    @property
    def legislation_options(self) -> LegislationOptions:
        """The reading of the law that this server applies."""
        return replace(LegislationOptions.read(self.readings), calendrier=Calendrier[self.declaration_calendar])

    # Où il sert et ce qu'il garde

    listen: str = "127.0.0.1:50051"
    """Adresse servie, `hôte:port` ; le port 0 en prend un libre."""
    listen_portals: str = ""
    """Seconde adresse, en TLS sans certificat du client : les portails y viennent avec leurs jetons. Vide : aucune."""
    store: str = Field(default="sqlite:///solidarite.db", repr=False)
    """Où sont gardés enregistrements, dossiers et déclarations : `sqlite:///CHEMIN` ou `postgresql://…`."""
    pseudonym_key_file: Path | None = None
    """Fichier de la clé secrète qui change les NIR en pseudonymes, 32 octets ou plus. Absent avec SQLite : une clé est
    créée une fois à côté de la base, lisible par son seul propriétaire. Elle doit survivre à la base : sans elle, aucun
    enregistrement ne retrouve sa personne."""
    allow_plaintext: bool = False
    """Servir sans TLS au-delà de la machine : seulement derrière un relais qui chiffre."""
    tls_certificate_file: Path | None = None
    """Certificat du serveur avec sa chaîne, en PEM ; relu quand il change, pour les connexions qui suivent."""
    tls_key_file: Path | None = None
    """Clé privée de ce certificat, en PEM, sans mot de passe ; relue avec lui."""
    tls_client_ca_file: Path | None = None
    """Autorités des certificats des sources, en PEM. Donné : `listen` n'accepte que qui en montre un (mTLS)."""
    allow_anonymous: bool = False
    """Servir sans identité au-delà de la machine : seulement sur un réseau d'essai, sans donnée réelle."""
    token_keys_file: Path | None = None
    """Clés publiques des jetons (JWK Set), relues quand elles changent. Données : tout appel demande une identité."""
    token_issuer: str = "solidarite-auth"  # noqa: S105 - public
    """Émetteur attendu des jetons (`iss`)."""
    token_audience: str = "solidarite"  # noqa: S105 - public
    """Destinataire attendu des jetons (`aud`)."""
    token_leeway_seconds: int = Field(default=30, ge=0, le=300)
    """Écart d'horloge toléré entre l'émetteur des jetons et ce serveur."""
    token_lifetime_seconds: int = Field(default=43_200, ge=60, le=86_400)
    """Durée de validité au-delà de laquelle un jeton est refusé, même signé."""
    audit_before_answer: bool = False
    """Attendre que la trace d'une lecture soit durable avant de répondre ; une modification attend toujours."""
    declaration_calendar: Literal["MOIS_ENTIER", "JOUR_25", "LIBRE"] = "MOIS_ENTIER"
    """Quand la déclaration du mois M se dépose : tout M, jusqu'au 25, ou n'importe quand (pour simuler)."""
    readings: str = ""
    """Lectures de la loi là où elle laisse un doute, `option=VALEUR` séparées par des virgules ; vide : celles de la
    documentation. La liste : `solidarite legislation options`."""
    reflection: bool = True
    """Laisser les outils tels que grpcurl découvrir le contrat."""

    gateway_listen: str = ""
    """Adresse où ouvrir aussi la passerelle des navigateurs et sa page, pour développer : `--with-gateway`. Vide :
    aucune."""

    # Processus

    workers: int = Field(default=1, ge=1, le=64)
    """Processus du serveur qui partagent le port."""
    share_port: bool = False
    """Écouter un port que d'autres processus de ce service écoutent aussi : ce que font ceux de `workers`."""
    supervisor: int = Field(default=0, ge=0)
    """Processus qui a démarré celui-ci ; quand il n'est plus là, celui-ci finit et s'arrête. Donné par `workers`."""
    campaign_processes: int = Field(default=2, ge=1, le=64)
    """Processus qui calculent une campagne demandée par un appel."""
    simulations_at_once: int = Field(default=1, ge=0, le=16)
    """Simulations demandées par un appel, à la fois dans un processus ; les suivantes sont refusées. 0 : aucune."""
    drain_seconds: float = Field(default=10.0, ge=0, le=600)
    """Temps laissé aux appels en cours après SIGTERM."""

    # Ce que l'exploitant voit

    metrics_listen: str = ""
    """Adresse des métriques Prometheus, `hôte:port`, à garder sur la machine ou un réseau d'exploitation. Vide :
    aucune."""
    metrics_sources: int = Field(default=200, ge=1)
    """Sources suivies une à une dans les métriques ; les suivantes sont réunies sous « autres »."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Niveau du journal, en lignes JSON sur la sortie d'erreur."""
    log_calls: Literal["all", "errors", "none"] = "errors"
    """Appels écrits dans le journal : tous, ceux qui ne finissent pas bien (hors refus de surcharge et abandons, que
    les métriques comptent), ou aucun."""
    otlp_endpoint: str = ""
    """Collecteur OpenTelemetry des traces (OTLP sur HTTP, `http://hôte:4318/v1/traces`), avec l'extra `otel`. Vide :
    aucune trace."""

    # Ce qu'un appelant peut demander

    batch_limit_records: int = Field(default=2_000, ge=1, le=2_000)
    """Enregistrements d'un lot au plus ; un lot plus grand est refusé en entier."""
    waiting_calls: int = Field(default=64, ge=1, le=1_000)
    """Appels simples qui attendent ou s'exécutent à la fois dans un processus ; les suivants sont refusés aussitôt,
    avec le moment où revenir (RESOURCE_EXHAUSTED, RetryInfo)."""
    waiting_seconds: float = Field(default=0.08, gt=0, le=10)
    """Attente au-delà de laquelle un appel simple est refusé de même plutôt que mis en file : celle que son tour lui
    promet, les appelants (les connexions) étant servis l'un après l'autre."""
    open_streams: int = Field(default=500, ge=1, le=10_000)
    """Flux ouverts à la fois dans un processus ; les suivants sont refusés de même. Une source n'en tient que la
    moitié, de même tous les portails ensemble, et tous les agents."""
    concurrent_calls: int = Field(default=2_000, ge=1, le=100_000)
    """Appels de toute sorte ouverts à la fois dans un processus, ceux dont la requête n'est pas encore là compris ; les
    suivants sont refusés de même. Au double, gRPC refuse seul, sans dire quand revenir."""
    unary_seconds: float = Field(default=30.0, gt=0, le=86_400)
    """Durée d'un appel simple au plus, quel que soit le délai de l'appelant."""
    stream_seconds: float = Field(default=3_600.0, gt=0, le=86_400)
    """Durée d'un flux au plus ; l'appelant est invité à en rouvrir un et à reprendre."""
    waiting_batches: int = Field(default=256, ge=1)
    """Lots qui attendent d'être écrits, toutes sources ensemble ; les suivants sont refusés, avec le moment où
    revenir."""
    source_waiting_batches: int = Field(default=64, ge=1)
    """Lots d'une même source qui attendent d'être écrits ; les sources sont servies à tour de rôle."""
    connections: int = Field(default=2_000, ge=1, le=1_000_000)
    """Connexions ouvertes à la fois sur une adresse, à quelques-unes près ; les suivantes sont fermées aussitôt."""
    metadata_kib: int = Field(default=16, ge=1, le=256)
    """Taille des métadonnées d'un appel au plus, en Kio."""
    message_mib: int = Field(default=8, ge=1, le=64)
    """Plus grand message reçu, en Mio."""
    streams_per_connection: int = Field(default=32, ge=1, le=100_000)
    """Appels ouverts à la fois sur une connexion ; les suivants attendent chez l'appelant, ou sont renvoyés sans avoir
    été lus. C'est la part d'un appelant quand tous attendent."""
    idle_seconds: int = Field(default=600, ge=1, le=86_400)
    """Une connexion sans aucun appel est fermée après ce temps."""
    keepalive_seconds: int = Field(default=60, ge=1, le=86_400)
    """Le serveur vérifie à cet intervalle que l'autre bout d'une connexion est encore là."""
    keepalive_timeout_seconds: int = Field(default=20, ge=1, le=86_400)
    """Sans réponse à cette vérification dans ce temps, la connexion est fermée."""
    ping_interval_seconds: int = Field(default=10, ge=1, le=86_400)
    """Un appelant peut vérifier la connexion à cet intervalle ; plus souvent est une faute."""
    ping_strikes: int = Field(default=2, ge=1, le=1_000)
    """Fautes tolérées avant que la connexion soit fermée."""
    handshake_seconds: int = Field(default=10, ge=1, le=3_600)
    """Qui n'a pas fini d'ouvrir sa connexion dans ce temps est déconnecté."""
    freshness_wait_seconds: float = Field(default=2.0, ge=0, le=60)
    """Temps pendant lequel une lecture attend l'écriture que son jeton désigne ; seize au plus attendent à la fois dans
    un processus, les suivantes sont refusées aussitôt."""

    @property
    def asks_for_identities(self) -> bool:
        """Whether callers need a token or a certificate; otherwise everybody on this machine may do everything."""
        return self.token_keys_file is not None or self.tls_client_ca_file is not None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags, environment, then the one file."""
        file = os.environ.get(CONFIG_VARIABLE)
        sources = (init_settings, env_settings)
        return (*sources, TomlConfigSettingsSource(settings_cls, toml_file=file)) if file else sources
