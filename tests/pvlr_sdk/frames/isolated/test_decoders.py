"""Images decoded in other processes: the same pixels, and a process that dies costs one image."""

from __future__ import annotations

import gc
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from pvlr_sdk import errors
from pvlr_sdk.frames import images
from pvlr_sdk.frames.isolated import Decoders, decoders
from pvlr_sdk.frames.isolated.process import IsolatedProcess, ProcessFailedError
from tests.manifests import shift_golden
from tests.pvlr_sdk.frames.test_images import ANIMATED
from tests.waiting import until

NOISE = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)


def encoded(extension: str = ".png", *options: int) -> bytes:
    return cv2.imencode(extension, NOISE, list(options))[1].tobytes()


def children() -> set[int]:
    """Processes of all threads of this one, zombies included."""
    found = set()
    for thread in Path("/proc/self/task").iterdir():
        with suppress(OSError):  # it has ended
            found.update(map(int, (thread / "children").read_text().split()))
    return found


def pid_of(pool: Decoders) -> int:
    (process,) = pool._idle.queue
    assert process is not None
    return process._process.pid


@pytest.fixture
def pool() -> Iterator[Decoders]:
    with closing(Decoders(1)) as made:
        yield made


@pytest.fixture
def defective(functions: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Decoders]:
    """Processes with a planted defect: see ``functions.crash_on_demand``."""
    monkeypatch.setattr(decoders, "_SERVE", "functions:crash_on_demand")
    with closing(Decoders(1, seconds=1.0)) as made:
        yield made


def test_pixels_are_those_of_this_process(pool: Decoders) -> None:
    for extension in (".jpg", ".png", ".webp", ".gif", ".bmp", ".tif", ".ppm"):
        data = encoded(extension)
        here, there = images.decode(data), pool.decode(data)
        np.testing.assert_array_equal(here.pixels, there.pixels)
        assert there.full_size is None
        there.pixels[:] = 0  # writable, as those of this process
    here, there = (
        decode(encoded(".jpg"), "frame", (10, 10)) for decode in (images.decode, pool.decode)
    )
    np.testing.assert_array_equal(here.pixels, there.pixels)
    assert here.full_size == there.full_size == (48, 64)


def test_system_calls_are_filtered(pool: Decoders) -> None:
    pool.decode(encoded())
    status = Path(f"/proc/{pid_of(pool)}/status").read_text()
    assert "Seccomp:\t2" in status
    assert "NoNewPrivs:\t1" in status
    limits = Path(f"/proc/{pid_of(pool)}/limits").read_text()
    for limit in (
        r"file size +0 +0",
        r"core file size +0 +0",
        r"open files +16 +16",
        r"cpu time +600 +600",
    ):
        assert re.search(f"Max {limit} ", limits), limit


@pytest.mark.slow
def test_a_process_that_has_decoded_for_long_is_replaced(
    pool: Decoders, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the kernel kills it, and between two images."""
    (before,) = {pool.decode(encoded()) and pid_of(pool) for _ in range(5)}
    monkeypatch.setattr(decoders, "CPU_SECONDS", 0.001)
    np.testing.assert_array_equal(pool.decode(encoded()).pixels, NOISE)
    assert pid_of(pool) != before


def test_what_a_process_says_is_short_and_printable(defective: Decoders) -> None:
    with pytest.raises(errors.ImageDecodeError) as caught:
        defective.decode(encoded(".bmp") + b"shout")
    assert caught.value.got.startswith(r"\x1b]0;title\x07\r\n\u202e" + "\ufffd")
    assert str(caught.value).isprintable()
    assert len(caught.value.got) <= 1000


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", errors.EmptyFrameError),
        (b"text", errors.ImageDecodeError),
        (encoded()[:-20], errors.ImageDecodeError),
        (encoded()[:60] + bytes(40) + encoded()[100:], errors.ImageDecodeError),
    ],
)
def test_errors_are_those_of_this_process(
    pool: Decoders, data: bytes, error: type[errors.PvlrError]
) -> None:
    raised = []
    for decode in (images.decode, pool.decode):
        with pytest.raises(error) as caught:
            decode(data)
        raised.append(str(caught.value))
    assert raised[0] == raised[1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "reason"),
    [(b"crash", r"crashed \(SIGSEGV\)"), (b"forever", "time|1 s"), (b"lie", "header")],
)
def test_a_decoder_that_fails_costs_one_image(
    defective: Decoders, text: bytes, reason: str
) -> None:
    bmp = encoded(".bmp")
    for _ in range(2):
        with pytest.raises(errors.ImageDecodeError, match=reason):
            defective.decode(bmp + text)
        np.testing.assert_array_equal(defective.decode(bmp).pixels, NOISE)


@pytest.mark.slow
def test_the_crash_of_a_real_decoder(pool: Decoders, monkeypatch: pytest.MonkeyPatch) -> None:
    """An animated PNG that ends OpenCV 4.14 and 5.0, where only isolation protects."""
    monkeypatch.setattr("pvlr_sdk.frames.png.still_image", lambda data: data)
    with pytest.raises(errors.ImageDecodeError):
        pool.decode(ANIMATED)
    np.testing.assert_array_equal(pool.decode(encoded()).pixels, NOISE)


@pytest.mark.slow
def test_too_much_memory_is_an_error_of_the_image() -> None:
    data = cv2.imencode(".png", np.zeros((5000, 5000), np.uint8))[1].tobytes()
    with closing(Decoders(1, memory_bytes=2**26)) as pool:
        with pytest.raises(errors.ImageDecodeError):
            pool.decode(data)
        np.testing.assert_array_equal(pool.decode(encoded()).pixels, NOISE)


@pytest.mark.slow
def test_many_threads_share_the_processes() -> None:
    data = encoded(".png")
    with closing(Decoders(2)) as pool, ThreadPoolExecutor(6) as threads:
        for image in threads.map(pool.decode, [data] * 60):
            np.testing.assert_array_equal(image.pixels, NOISE)
        assert pool._idle.qsize() == 2


@pytest.mark.slow
def test_killed_processes_leave_nothing_behind(pool: Decoders) -> None:
    """Neither processes nor descriptors nor shared memory, of which each image has its own."""
    data = encoded()
    pool.decode(data)
    gc.collect()
    before = len(os.listdir("/proc/self/fd")), len(children())
    for _ in range(40):
        os.kill(pid := pid_of(pool), signal.SIGKILL)
        until(lambda: "(zombie)" in Path(f"/proc/{pid}/status").read_text())
        np.testing.assert_array_equal(pool.decode(data).pixels, NOISE)
    gc.collect()
    assert (len(os.listdir("/proc/self/fd")), len(children())) == before
    maps = Path("/proc/self/maps").read_text()
    assert "pvlr-shared" not in maps


@pytest.mark.slow
def test_processes_end_with_their_pool() -> None:
    before = children()
    pool = Decoders(2).start()
    assert len(children() - before) == 2
    pool.decode(encoded())
    pool.close()
    assert children() == before
    pool.decode(encoded())  # calls in progress complete
    assert children() == before
    pool = Decoders(2).start()
    del pool
    gc.collect()
    assert children() == before


def test_closing_it_while_others_take_and_return_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their number changes between a look at it and the next step."""
    before = children()
    pool = Decoders(2).start()
    monkeypatch.setattr(pool._idle, "qsize", lambda: 3)
    pool.close()
    assert children() == before
    monkeypatch.undo()
    assert pool._idle.qsize() == 2


def test_a_pool_that_cannot_start_stays_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    before, pool = children(), Decoders(3)
    real = decoders.IsolatedProcess
    results = iter([real])

    def limited(*arguments: Any) -> Any:
        for make in results:
            return make(*arguments)
        raise errors.IsolationError("isolation", expected="a process", got="too many", hint="None.")

    monkeypatch.setattr(decoders, "IsolatedProcess", limited)
    with pytest.raises(errors.IsolationError, match="too many"):
        pool.start()
    assert pool._idle.qsize() == 3
    pool.close()
    assert children() == before


def test_a_closed_process_is_a_typed_error() -> None:
    process = IsolatedProcess(decoders._SERVE, decoders.MEMORY_BYTES)
    process.close()
    with pytest.raises(errors.IsolationError):
        process.wait_until_ready()
    with pytest.raises(ProcessFailedError):
        process.receive(1.0)


@pytest.mark.slow
def test_processes_end_with_a_plan_that_cannot_be_loaded(own_plan: Path) -> None:
    """Also while somebody holds the exception."""
    from pvlr_sdk import Tagger

    before = children()
    shift_golden(own_plan, 1)
    with pytest.raises(errors.SelfTestError) as caught:
        Tagger(own_plan, isolate=True)
    assert caught.value.__traceback__ is not None
    assert children() == before


@pytest.mark.slow
@pytest.mark.parametrize("serve", [decoders._SERVE, "functions:deaf"])
def test_processes_end_with_a_program_that_is_killed(serve: str) -> None:
    """Even if they ignore signals and their channel."""
    script = (
        "import sys; from pvlr_sdk.frames.isolated import Decoders, decoders; decoders._SERVE = sys.argv[1];"
        "sys.path.append(sys.argv[2]); pool = Decoders(2).start();"
        "[process.wait_until_ready() for process in pool._idle.queue];"
        "print(*(process._process.pid for process in pool._idle.queue), flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", script, serve, str(Path(__file__).parent)]
    program = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert program.stdout is not None
    pids = program.stdout.readline().split()
    assert len(pids) == 2
    program.kill()
    program.communicate()
    until(lambda: not any(Path(f"/proc/{pid}/cmdline").exists() for pid in pids))


def test_a_process_that_is_gone_is_replaced(pool: Decoders) -> None:
    """Also where its number is free already: a parent that ignores SIGCHLD, or a fork of it."""
    pool.decode(encoded())
    os.kill(before := pid_of(pool), signal.SIGKILL)
    os.waitpid(before, 0)
    np.testing.assert_array_equal(pool.decode(encoded()).pixels, NOISE)
    assert pid_of(pool) != before


def test_processes_outlive_the_thread_that_started_them(pool: Decoders) -> None:
    """The kernel kills a process when the thread that started it ends."""
    with ThreadPoolExecutor(1) as threads:
        threads.submit(pool.decode, encoded()).result()
    before = pid_of(pool)
    np.testing.assert_array_equal(pool.decode(encoded()).pixels, NOISE)
    assert pid_of(pool) == before


def test_the_current_folder_does_not_decide_what_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cv2.py").write_text("import os; os._exit(77)")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with closing(Decoders(1)) as pool:
        np.testing.assert_array_equal(pool.decode(encoded()).pixels, NOISE)
