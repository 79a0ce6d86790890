"""Jobs as tasks of Ray: the same bytes as processes, and deaths and errors contained. Needs the extra `ray`."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from http.client import HTTPException
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

if find_spec("ray") is None:
    pytest.skip("needs Ray", allow_module_level=True)

from reach.protocols import PROTOCOLS
from reach.study import Job, Store, complete, plan
from reach.study.engine.jobs import definition, digest
from reach.study.engine.ray_tasks import do_task, on_ray

HERE = Path(__file__).parents[1]
FACTORY = "fake_learner:prepare"


@pytest.fixture(autouse=True)
def _fake_learner_in_tasks(fake_learner: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(HERE), *sys.path]))
    monkeypatch.setenv("FAKE_MARKS", str(tmp_path))


def study(out: Path, *learners: str, **how: Any) -> tuple[dict[str, bytes], dict[Job, str]]:
    store = Store(out)
    jobs = plan(learners, {"tiny": PROTOCOLS["tiny"]}, [0], factory=FACTORY, out=out)
    failures = complete(jobs, store, processes=2, show=False, **how)
    files = [*out.glob("trials/*/*/*/*"), *out.glob("baseline/*/*"), *out.glob("done/*")]
    return {str(file.relative_to(out)): file.read_bytes() for file in files}, failures


def test_tasks_give_the_bytes_that_processes_give_and_their_deaths_and_errors_are_contained(tmp_path: Path) -> None:
    by_processes, _ = study(tmp_path / "processes", "steady", "wandering")
    by_tasks, failures = study(
        tmp_path / "tasks", "steady", "wandering", "raises", "dies-once", "dies", workers=on_ray(None, 2)
    )
    assert by_processes
    assert by_processes.items() <= by_tasks.items()
    assert any("dies-once" in name and "trials" in name for name in by_tasks)
    errors = {job.learner: error for job, error in failures.items() if job.kind == "train"}
    assert set(errors) == {"raises", "dies"}
    assert "RuntimeError: this learner cannot be made" in errors["raises"]
    assert "the worker died 2 times without an answer" in errors["dies"]
    # A rerun does what is missing and nothing else.
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "tasks").glob("trials/*/*/*/*")}
    again, _ = study(tmp_path / "tasks", "steady", "wandering")
    assert again == by_tasks
    assert kept == {path: path.stat().st_mtime_ns for path in kept}


def test_a_task_on_a_machine_with_other_code_is_refused(tmp_path: Path) -> None:
    (job, _) = plan(["steady"], {"tiny": PROTOCOLS["tiny"]}, [0], factory=FACTORY, out=tmp_path)
    refused = do_task(job.to_json(), "0123456789ab", {}, {})
    assert "got others" in refused["error"]
    trained = do_task(job.to_json(), digest(definition(FACTORY)), {}, {})
    assert set(trained["folder"]) == {"config.json"}
    assert not Path(job.folder).exists()
    with pytest.raises(KeyError):
        trained["error"]
    assert not list(tmp_path.iterdir())


# A cluster such as a study starts; it says where Ray's head listens, and ends when its input does.
CLUSTER = """
import sys
from pathlib import Path
from reach.study import Store
from reach.study.engine.ray_tasks import on_ray
workers = on_ray(None, 1)(Store(Path(sys.argv[1])), lambda job, done: None)
import ray
ray.get(ray.remote(runtime_env={"env_vars": {"A": "1"}})(lambda: 1).remote())  # then its agent has started too
print(ray.get_runtime_context().gcs_address, flush=True)
sys.stdin.read()
workers.close()
"""
STRANGER = """
import sys
import ray
ray.init(address=sys.argv[1])
print("joined", ray.get(ray.remote(lambda: 1).remote()))
"""
WRONG = "0" * 64  # a token that is none
# A call of each service of Ray's: what is known, run or stored in a cluster.
CALLS = (
    "ray.rpc.JobInfoGcsService/GetAllJobInfo",
    "ray.rpc.InternalKVGcsService/InternalKVPut",
    "ray.rpc.NodeManagerService/RequestWorkerLease",
    "ray.rpc.CoreWorkerService/PushTask",
    "ray.rpc.ObjectManagerService/Pull",
)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The process that has started a cluster, and the address of its head."""
    settings = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    started = subprocess.Popen(
        [sys.executable, "-c", CLUSTER, str(tmp_path)],
        env=settings | {"HOME": str(tmp_path / "home"), "RAY_ADDRESS": "127.0.0.1:1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert started.stdin is not None
    assert started.stdout is not None
    yield started, started.stdout.readline().strip()
    started.stdin.close()
    assert started.wait() == 0
    assert not (tmp_path / "home").exists()  # and so no token is left there


def test_a_cluster_of_our_own_listens_on_loopback_alone_and_shows_its_token_nowhere(
    cluster: tuple[subprocess.Popen[str], str],
) -> None:
    started, address = cluster
    assert address.startswith("127.0.0.1:")
    processes = below(started.pid)
    found = listening([started.pid, *processes])
    assert len(found) >= 5  # of Ray's head, its node (two), the driver and the agent
    assert set(found.values()) == {"127.0.0.1"}
    token = token_of(processes[0])
    assert len(token) >= 64
    for pid in [started.pid, *processes]:
        assert token not in Path(f"/proc/{pid}/cmdline").read_text()


def test_a_stranger_is_refused_by_every_port_of_a_cluster_of_our_own(
    cluster: tuple[subprocess.Popen[str], str],
) -> None:
    started, address = cluster
    grpc = pytest.importorskip("grpc")
    token = token_of(below(started.pid)[0])
    answers: dict[str, set[str]] = {call: set() for call in CALLS}
    statuses: set[int | None] = set()
    for port in listening([started.pid, *below(started.pid)]):
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            for call in CALLS:
                ask = channel.unary_unary(f"/{call}")
                for sent in ((), (("authorization", f"Bearer {WRONG}"),)):
                    with pytest.raises(grpc.RpcError) as refused:
                        ask(b"", timeout=10.0, metadata=sent)
                    answers[call].add(refused.value.code().name)
        statuses.add(http_status(port))
    for call, given in answers.items():
        assert "UNAUTHENTICATED" in given, call
        assert given <= {"UNAUTHENTICATED", "UNIMPLEMENTED", "UNAVAILABLE"}, call  # the others do not have this service
    assert statuses == {None, 401}  # the agent speaks HTTP, the others do not
    with grpc.insecure_channel(address) as channel:  # the right token opens what the others were refused
        channel.unary_unary(f"/{CALLS[0]}")(b"", timeout=10.0, metadata=(("authorization", f"Bearer {token}"),))


def test_a_stranger_cannot_join_a_cluster_of_our_own(
    cluster: tuple[subprocess.Popen[str], str], tmp_path: Path
) -> None:
    _, address = cluster
    settings = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    settings["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # without it Ray looks for 127.0.0.1 at another address
    attempts = [
        {},
        {"RAY_AUTH_MODE": "disabled"},
        {"RAY_AUTH_MODE": "token"},
        {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": WRONG},
    ]
    strangers = [
        subprocess.Popen(
            [sys.executable, "-c", STRANGER, address],
            env=settings | {"HOME": str(tmp_path)} | attempt,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for attempt in attempts
    ]
    try:
        for stranger in strangers:
            said, _ = stranger.communicate(timeout=240.0)
            assert stranger.returncode != 0
            assert "joined" not in said
    finally:
        for stranger in strangers:
            stranger.kill()


def http_status(port: int) -> int | None:
    """What a port answers to a request of HTTP without a token; None where it does not speak HTTP."""
    try:
        with urlopen(Request(f"http://127.0.0.1:{port}/get_or_create_runtime_env", b""), timeout=10.0) as answer:
            return int(answer.status)
    except HTTPError as error:
        return error.code
    except (OSError, HTTPException):
        return None


def token_of(pid: int) -> str:
    """The token that a process of a cluster was given, which only its own user can read."""
    variables = Path(f"/proc/{pid}/environ").read_text().split("\0")
    return next(one.partition("=")[2] for one in variables if one.startswith("RAY_AUTH_TOKEN="))


def listening(processes: list[int]) -> dict[int, str]:
    """Port -> address of every TCP socket that processes listen on."""
    sockets = set()
    for pid in processes:
        for file in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                sockets.add(os.readlink(file))
    found = {}
    for family in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{family}").read_text().splitlines()[1:]:
            _, local, _, state, *_, inode = line.split()[:10]
            if state == "0A" and f"socket:[{inode}]" in sockets:
                address, _, port = local.partition(":")
                last = bytes.fromhex(address)[-4:][::-1]  # an IPv4 address in an IPv6 one ends with it
                mapped = family == "tcp" or address[:24] == "0" * 16 + "FFFF0000"
                found[int(port, 16)] = ".".join(map(str, last)) if mapped else address
    return found


STUDY = """
import sys
from pathlib import Path
import fake_learner
from reach.protocols import PROTOCOLS
from reach.study import Store, complete, plan
from reach.study.engine.ray_tasks import on_ray
out = Path(sys.argv[1])
jobs = plan(["steady", "wandering"], {"tiny": PROTOCOLS["tiny"]}, range(2), factory="fake_learner:prepare", out=out)
complete(jobs, Store(out), processes=1, show=False, workers=on_ray(None, 1))
"""


@pytest.mark.endurance
@pytest.mark.parametrize("part", ["gcs_server", "raylet"])
def test_what_is_finished_survives_the_death_of_rays_head_and_a_rerun_ends_the_same(part: str, tmp_path: Path) -> None:
    out, undisturbed = tmp_path / "killed", tmp_path / "undisturbed"
    command = [sys.executable, "-c", STUDY]
    subprocess.run([*command, str(undisturbed)], check=True)
    study = subprocess.Popen([*command, str(out)], env=os.environ | {"FAKE_TRIAL_S": "0.5"})
    end = time.monotonic() + 120.0
    while not list(out.glob("trials/*/*/*/*.parquet")):
        assert time.monotonic() < end
        time.sleep(0.1)
    (head,) = [pid for pid in below(study.pid) if Path(f"/proc/{pid}/comm").read_text().strip() == part]
    os.kill(head, 9)
    assert study.wait(timeout=180.0) != 0
    finished = {path.name: path.read_bytes() for path in out.glob("trials/*/*/*/*.parquet")}
    assert finished
    subprocess.run([*command, str(out)], check=True)
    ended = {path.name: path.read_bytes() for path in out.glob("trials/*/*/*/*.parquet")}
    assert finished.items() <= ended.items()
    assert ended == {path.name: path.read_bytes() for path in undisturbed.glob("trials/*/*/*/*.parquet")}


def below(pid: int) -> list[int]:
    found: list[int] = []
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in map(int, (task / "children").read_text().split()):
                found += [child, *below(child)]
    return found
