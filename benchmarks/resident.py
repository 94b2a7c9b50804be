"""The program in a process of its own, and the time and memory that it took."""

import re
import resource
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryFile

SECONDS_BETWEEN_LOOKS = 0.05
_PROGRAM = (
    "import sys\n"
    "from paramdiff.cli import main\n"
    "from paramdiff.runs.stage_log import peak_memory\n"
    "sys.argv = ['paramdiff', *sys.argv[1:]]\n"
    "try:\n"
    "    main()\n"
    "except SystemExit as ended:\n"
    "    assert not ended.code, ended.code\n"
    "print('PEAK', peak_memory())\n"
)


def measured(*arguments: str) -> dict[str, float]:
    """Run ``paramdiff`` with arguments and measure it.

    ``peak_memory_mb`` is all that was ever resident at once (VmHWM): files that are mapped count
    as far as they were read and not given back, though the system may take them back at any time.
    ``peak_own_mb`` is what it may not take back: memory that lies in no file (RssAnon, RssShmem),
    looked at every twentieth of a second.
    """
    started, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    own = 0.0
    with TemporaryFile("w+") as output:
        child = subprocess.Popen([sys.executable, "-c", _PROGRAM, *arguments], stdout=output)
        while child.poll() is None:
            own = max(own, _own_mb(child.pid))
            time.sleep(SECONDS_BETWEEN_LOOKS)
        output.seek(0)
        told, _, peak = output.read().rpartition("PEAK")
    print(told, flush=True)
    if child.returncode:
        raise subprocess.CalledProcessError(child.returncode, arguments)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    worked = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {
        "seconds": round(time.monotonic() - started, 1),
        "cpu_seconds": round(worked, 1),
        "peak_memory_mb": round(float(peak), 1),
        "peak_own_mb": round(own, 1),
    }


def _own_mb(process: int) -> float:
    """What a process holds now beside files; 0 where nothing tells."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0.0
    return sum(int(kb) for kb in re.findall(r"Rss(?:Anon|Shmem):\s+(\d+)", status)) / 2**10
