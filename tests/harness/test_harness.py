"""The harness runs real servers: what they acknowledged survives, and nothing outlives us."""

from __future__ import annotations

import os
import signal
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import redis
import sqlalchemy
from freezegun import freeze_time
from harness import processes
from harness.postgres_server import PostgresServer
from harness.processes import Process, ProcessError, free_port, until
from harness.redis_server import RedisServer

SUPPORT = Path(processes.__file__).resolve().parent.parent


def alive(pid: int) -> bool:
    """Whether the process runs; a zombie that nobody reaped yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


# --- redis ---------------------------------------------------------------------------------------


def test_redis_keeps_what_it_acknowledged_through_sigkill(private_redis: RedisServer) -> None:
    """A value whose SET was answered is there after kill -9 and a new start."""
    client = private_redis.client(decode_responses=True)
    for number in range(100):
        client.set(f"key:{number}", number)
    before = private_redis.process.pid
    private_redis.kill()
    with pytest.raises(redis.ConnectionError):
        client.get("key:0")
    private_redis.start()
    assert private_redis.process.pid != before
    assert [client.get(f"key:{number}") for number in range(100)] == [str(n) for n in range(100)]


def test_redis_restarts_in_order_on_the_same_ports(private_redis: RedisServer) -> None:
    """A restart keeps the data, the socket and the TCP port."""
    url = private_redis.tcp_url
    private_redis.client().set("kept", "yes")
    private_redis.restart()
    assert private_redis.tcp_url == url
    assert private_redis.client(decode_responses=True).get("kept") == "yes"


def test_redis_runs_with_the_durable_settings(redis_server: RedisServer) -> None:
    """The server fsyncs each write, never evicts and makes no snapshots."""
    config = redis_server.client(decode_responses=True).config_get
    found = {**config("append*"), **config("maxmemory-policy"), **config("save")}
    assert found["appendonly"] == "yes"
    assert found["appendfsync"] == "always"
    assert found["maxmemory-policy"] == "noeviction"
    assert found["save"] == ""


def test_paused_redis_is_silent_and_goes_on(private_redis: RedisServer) -> None:
    """A paused server lets a client time out and answers again once resumed."""
    client = private_redis.client(socket_timeout=0.2, retry=None)
    client.set("kept", "yes")
    private_redis.pause()
    with pytest.raises(redis.TimeoutError):
        client.get("kept")
    private_redis.resume()
    assert client.get("kept") == b"yes"


def test_redis_url_is_empty_even_after_a_test_broke_the_server(redis_server: RedisServer) -> None:
    """Reset revives a killed or paused server and leaves neither data nor scripts."""
    for harm in (redis_server.kill, redis_server.pause, redis_server.stop):
        redis_server.reset()
        client = redis_server.client()
        client.set("left", "over")
        digest = client.script_load("return 1")
        harm()
        redis_server.reset()
        assert client.dbsize() == 0
        assert client.script_exists(digest) == [False]


def test_rediss_is_trusted_through_its_own_authority_alone(rediss_server: RedisServer) -> None:
    """The URL's authority lets a client in; the system's authorities do not."""
    assert rediss_server.url.startswith("rediss://")
    assert rediss_server.client().ping()
    bare = redis.Redis.from_url(rediss_server.url.partition("?")[0], retry=None)
    with pytest.raises(redis.ConnectionError, match=r"(?i)certificate"):
        bare.ping()
    bare.close()
    assert rediss_server.tls_context().verify_mode == ssl.CERT_REQUIRED


# --- postgresql ----------------------------------------------------------------------------------


def test_postgres_keeps_what_it_committed_through_sigkill() -> None:
    """A committed row is there after kill -9 and recovery, also with a connection open."""
    with PostgresServer(fsync=True) as server:
        url = server.create_database()
        name = url.rpartition("/")[2]
        before = server.process.pid
        with server.connect(name) as connection:
            connection.execute("CREATE TABLE kept (n int)")
            connection.execute("INSERT INTO kept VALUES (42)")
            server.kill()
        server.start()
        assert server.process.pid != before
        with server.connect(name) as connection:
            assert connection.execute("SELECT n FROM kept").fetchall() == [(42,)]
        server.restart()
        with server.connect(name) as connection:
            assert connection.execute("SELECT n FROM kept").fetchall() == [(42,)]


def test_postgres_url_works_through_sqlalchemy(postgres_url: str) -> None:
    """The URL is SQLAlchemy's own form and its database holds no table."""
    assert postgres_url.startswith("postgresql+psycopg://")
    engine = sqlalchemy.create_engine(postgres_url)
    with engine.connect() as connection:
        assert connection.scalar(sqlalchemy.text("SELECT 1")) == 1
    assert sqlalchemy.inspect(engine).get_table_names() == []
    engine.dispose()


def test_postgres_databases_copy_their_template(postgres_server: PostgresServer) -> None:
    """A database made from a template holds the template's tables, and is a copy."""
    template = postgres_server.create_database()
    name = template.rpartition("/")[2]
    with postgres_server.connect(name) as connection:
        connection.execute("CREATE TABLE migrated (n int)")
    copy = postgres_server.create_database(template=name)
    with postgres_server.connect(copy.rpartition("/")[2]) as connection:
        connection.execute("INSERT INTO migrated VALUES (1)")
    with postgres_server.connect(name) as connection:
        assert connection.execute("SELECT count(*) FROM migrated").fetchone() == (0,)
    for url in (copy, template):
        postgres_server.drop_database(url)


# --- processes -----------------------------------------------------------------------------------


def python(code: str) -> Process:
    """A Python program with the harness on its path."""
    return Process([sys.executable, "-c", code], env={"PYTHONPATH": str(SUPPORT)})


def test_a_line_is_waited_for_and_output_is_kept_apart() -> None:
    """The match is of a complete line, and each stream is kept by itself."""
    code = "import sys; print('noise'); print('url=http://x', flush=True); sys.stderr.write('e')"
    with python(code) as process:
        assert process.wait_for_line(r"url=(\S+)").group(1) == "http://x"
        assert process.wait() == 0
        assert process.stdout().splitlines() == ["noise", "url=http://x"]
        assert process.stderr() == "e"


def test_a_program_that_ends_early_is_reported_with_its_output() -> None:
    """The error names the exit code and shows what the program said."""
    with (
        python("raise SystemExit('no such setting')") as process,
        pytest.raises(ProcessError, match=r"(?s)exit code: 1.*no such setting"),
    ):
        process.wait_for_line("ready")


def test_a_silent_program_is_given_up_at_the_deadline() -> None:
    """The wait ends with an error although the program goes on."""
    with (
        python("import time; time.sleep(60)") as process,
        pytest.raises(ProcessError, match="not within"),
    ):
        process.wait_for_line("ready", timeout=0.1)


def test_a_url_is_waited_for() -> None:
    """An HTTP server counts as ready once it answers below 500."""
    port = free_port()
    argv = [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(port)]
    with Process(argv, cwd=SUPPORT) as process:
        assert process.wait_for_url(f"http://127.0.0.1:{port}/") == 200
        assert process.wait_for_url(f"http://127.0.0.1:{port}/none") == 404


def test_stop_kills_what_ignores_sigterm_and_its_children() -> None:
    """A program deaf to SIGTERM, and the child it started, are gone after stop."""
    code = (
        "import signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    process = python(code).start()
    child = int(process.wait_for_line(r"^\d+$").group())
    assert process.stop(timeout=0.2) == -signal.SIGKILL
    for _ in until(5, "the child's end"):
        if not alive(child):
            break


@pytest.mark.parametrize("end", ["sys.exit(0)", "os.kill(os.getpid(), signal.SIGKILL)"])
def test_no_server_outlives_the_tests(end: str) -> None:
    """Servers end with the process that started them, be it by exit or by SIGKILL."""
    code = (
        "import os, signal, sys\n"
        "from harness.redis_server import RedisServer\n"
        "server = RedisServer().start()\n"
        "print(server.process.pid, server.directory, flush=True)\n"
    )
    with python(code + end) as process:
        pid, directory = process.wait_for_line(r"^\d+ /").string.split()
        process.wait()
        for _ in until(5, "the server's end"):
            if not alive(int(pid)):
                break
    subprocess.run(["rm", "-r", directory], check=True)


def test_a_server_outlives_the_thread_that_started_it() -> None:
    """A server started in a thread still runs when that thread has ended."""
    server = RedisServer()
    thread = threading.Thread(target=server.start)
    thread.start()
    thread.join()
    assert server.answers()
    pid = server.process.pid
    server.close()
    assert not alive(pid)
    assert not server.directory.exists()


def test_deadlines_pass_while_the_clock_is_frozen() -> None:
    """freezegun stops time.monotonic, and the harness measures on."""
    with freeze_time("2030-01-01"):
        assert time.monotonic() == time.monotonic()
        with pytest.raises(TimeoutError):
            for _ in until(0.05, "nothing"):
                pass


def test_a_missing_program_is_an_error_with_the_command(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A server that is not installed fails the test and says how to install it."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(os, "defpath", str(tmp_path))
    with pytest.raises(RuntimeError, match="apt-get install -y no-such-package"):
        processes.require_binary("no-such-server", "no-such-package")
