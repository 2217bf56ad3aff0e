"""The user's own pip configuration, and an HTTP client that follows it."""

from __future__ import annotations

import configparser
import os
import ssl
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from impasto.assets._failures import one_line
from impasto.errors import AssetError

if TYPE_CHECKING:
    from unearth.fetchers import PyPIClient


@dataclass(frozen=True)
class PipSettings:
    """Pip's settings for package indexes; all empty when nothing is configured."""

    index_urls: tuple[str, ...] = ()
    extra_index_urls: tuple[str, ...] = ()
    find_links: tuple[str, ...] = ()
    trusted_hosts: tuple[str, ...] = ()
    cert: str = ""
    proxy: str = ""
    timeout: float = 15.0
    no_index: bool = False


def pip_files(environ: Mapping[str, str]) -> list[Path]:
    """The configuration files of pip, later ones taking precedence."""
    import platformdirs

    name = "pip.ini" if os.name == "nt" else "pip.conf"
    configured = environ.get("PIP_CONFIG_FILE", "")
    if configured == os.devnull:
        return []
    shared = platformdirs.site_config_dir("pip", appauthor=False, multipath=True).split(os.pathsep)
    files = [Path(folder) / name for folder in reversed(shared)]
    if os.name == "posix":
        files.append(Path("/etc") / name)
    if not (configured and Path(configured).exists()):
        with suppress(RuntimeError):  # no home folder
            home = Path.home()
            files += [home / ("pip" if os.name == "nt" else ".pip") / name, home / ".config" / "pip" / name]
        files.append(platformdirs.user_config_path("pip", appauthor=False, roaming=True) / name)
    files.append(Path(sys.prefix) / name)
    return [*files, Path(configured)] if configured else files


def pip_settings(environ: Mapping[str, str], files: Iterable[Path]) -> PipSettings:
    """Read pip's files, then `PIP_*`, which win.

    Raises:
        AssetError: a file is there and cannot be parsed.
    """
    options: dict[str, str] = {}
    for path in files:
        parser = configparser.RawConfigParser()
        try:
            parser.read(path, encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError) as error:
            raise AssetError(f"pip's configuration {path} cannot be read", one_line(error)) from error
        for section in ("global", "install", "download", ":env:"):
            if parser.has_section(section):
                options.update({key.replace("_", "-"): value for key, value in parser.items(section)})
    options.update(
        {key[4:].lower().replace("_", "-"): value for key, value in environ.items() if key.startswith("PIP_") and value}
    )
    cert = options.get("cert") or environ.get("REQUESTS_CA_BUNDLE", "") or environ.get("CURL_CA_BUNDLE", "")
    return PipSettings(
        index_urls=tuple(options.get("index-url", "").split()),
        extra_index_urls=tuple(options.get("extra-index-url", "").split()),
        find_links=tuple(
            str(Path(link).expanduser()) if link[:1] == "~" else link for link in options.get("find-links", "").split()
        ),
        trusted_hosts=tuple(options.get("trusted-host", "").split()),
        cert=cert,
        proxy=options.get("proxy", ""),
        timeout=_seconds(options.get("timeout") or options.get("default-timeout", "")),
        no_index=options.get("no-index", "").lower() in ("1", "true", "yes", "on"),
    )


def _seconds(text: str) -> float:
    try:
        return max(float(text), 1.0)
    except ValueError:
        return PipSettings.timeout


def http_client(settings: PipSettings) -> PyPIClient:
    """An HTTP client as pip would have it: certificate, proxy, trusted hosts, credentials. It never asks questions."""
    from unearth.auth import MultiDomainBasicAuth
    from unearth.fetchers import PyPIClient

    verify: ssl.SSLContext | bool = True
    if settings.cert:
        cert = Path(settings.cert).expanduser()
        try:
            verify = (
                ssl.create_default_context(capath=cert) if cert.is_dir() else ssl.create_default_context(cafile=cert)
            )
        except OSError as error:
            raise AssetError(
                f"the certificates {cert} cannot be read ({one_line(error)})", "mend pip's option cert (PIP_CERT)"
            ) from error
    client = PyPIClient(
        trusted_hosts=settings.trusted_hosts,
        verify=verify,
        timeout=settings.timeout,
        follow_redirects=True,
        proxy=settings.proxy or None,
    )
    client.auth = MultiDomainBasicAuth(prompting=False, index_urls=[*settings.index_urls, *settings.extra_index_urls])
    return client
