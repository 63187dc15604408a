"""Commands in an environment."""

from __future__ import annotations

import pickle
import signal
import subprocess
import threading
from pathlib import Path

import pytest

import ptest


def test_a_command_gives_what_it_wrote_and_its_code(env: ptest.Environment) -> None:
    run = env.exec(["sh", "-c", "echo out; echo err >&2; exit 3"])
    assert (run.returncode, run.stdout, run.stderr) == (3, "out\n", "err\n")
    assert not run.success
    assert run.duration > 0
    assert run.id


def test_the_environment_comes_first_on_the_path(env: ptest.Environment) -> None:
    run = env.exec(["python", "-c", "import sys, six; print(sys.prefix, six.__version__)"], check=True)
    assert run.stdout == "/ptest/env 1.16.0\n"


def test_input_is_read_and_bytes_stay_bytes(env: ptest.Environment) -> None:
    assert env.exec(["cat"], input="ä").stdout == "ä"
    assert env.exec(["cat"], input=b"\xff\x00", text=False).stdout == b"\xff\x00"


def test_what_is_no_text_is_replaced_and_never_lost(env: ptest.Environment) -> None:
    assert env.exec(["printf", r"a\377b"]).stdout == "a\ufffdb"


def test_nothing_is_read_unless_it_is_given(env: ptest.Environment) -> None:
    assert env.exec(["cat"], timeout=20).stdout == ""


def test_both_streams_can_be_one(env: ptest.Environment) -> None:
    run = env.exec(["sh", "-c", "echo 1; echo 2 >&2; echo 3"], stderr=ptest.STDOUT)
    assert (run.stdout, run.stderr) == ("1\n2\n3\n", "")


def test_streams_can_be_files_or_nothing(env: ptest.Environment, project: Path) -> None:
    with (project / "out").open("w") as out:
        run = env.exec(["sh", "-c", "echo 1; echo 2 >&2"], stdout=out, stderr=ptest.DEVNULL)
    assert (run.stdout, run.stderr) == ("", "")
    assert (project / "out").read_text() == "1\n"


def test_output_beyond_the_bound_is_left_out_in_the_middle_and_counted(env: ptest.Environment) -> None:
    run = env.exec(["python", "-c", "print('a' * 100_000 + 'z' * 100_000, end='')"], max_output=1000)
    assert run.stdout_omitted == 199_000
    assert run.stdout == "a" * 500 + "\n[… 199000 bytes left out …]\n" + "z" * 500


def test_a_command_whose_time_is_up_has_what_it_wrote(env: ptest.Environment) -> None:
    run = env.exec(["sh", "-c", "echo begun; sleep 60 & wait"], timeout=0.5, grace=0.1)
    assert run.timed_out
    assert run.stdout == "begun\n"
    assert run.leaked_processes == 0


def test_a_time_of_zero_ends_at_once(env: ptest.Environment) -> None:
    assert env.exec(["sleep", "60"], timeout=0).timed_out


def test_a_signal_is_a_negative_code(env: ptest.Environment) -> None:
    run = env.exec(["sh", "-c", "kill -KILL $$"])
    assert run.returncode == -signal.SIGKILL


def test_a_failure_that_is_checked_has_all_that_is_known(env: ptest.Environment) -> None:
    with pytest.raises(ptest.CommandFailedError, match="`sh` failed with code 7") as caught:
        env.exec(["sh", "-c", "echo out; echo err >&2; exit 7"], check=True)
    error = caught.value
    assert isinstance(error, subprocess.CalledProcessError)
    assert (error.returncode, error.stdout, error.stderr) == (7, "out\n", "err\n")
    assert pickle.loads(pickle.dumps(error)).run == error.run


def test_a_timeout_that_is_checked_is_a_timeout_error(env: ptest.Environment) -> None:
    with pytest.raises(TimeoutError):
        env.exec(["sleep", "60"], timeout=0.1, grace=0.1, check=True)


def test_what_cannot_be_started_is_told_apart(env: ptest.Environment, project: Path) -> None:
    with pytest.raises(ptest.CommandNotFoundError):
        env.exec(["no-such-program"])
    (project / "text").write_text("x")
    with pytest.raises(ptest.CommandNotExecutableError):
        env.exec([project / "text"])


@pytest.mark.parametrize("start", ["exec", "popen"])
def test_a_working_directory_that_is_not_there_is_not_found(env: ptest.Environment, start: str) -> None:
    with pytest.raises(ptest.NotFoundError, match="/no/such/place") as caught:
        getattr(env, start)(["true"], cwd="/no/such/place")
    assert isinstance(caught.value, FileNotFoundError)
    assert caught.value.hint


def test_a_memory_limit_that_struck_is_told(store: ptest.Store) -> None:
    limits = ptest.Limits(memory="64M")
    with store.create(limits=limits) as limited:
        run = limited.exec(["python", "-c", "x = bytearray(512 << 20)"])
    assert run.returncode != 0
    assert run.limit is not None
    assert run.limit.limit == "memory"
    assert run.limit.configured == 64 << 20


def test_variables_and_directory_are_the_callers_choice(env: ptest.Environment, project: Path) -> None:
    (project / "below").mkdir()
    run = env.exec(["sh", "-c", "echo $X; pwd"], env={"X": "1"}, cwd="below")
    assert run.stdout == f"1\n{project / 'below'}\n"


def test_secrets_do_not_get_in_but_by_name(
    store: ptest.Store, env: ptest.Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    assert env.exec(["sh", "-c", "echo $AWS_SECRET_ACCESS_KEY"]).stdout == "\n"
    with store.create(pass_env=["AWS_SECRET_ACCESS_KEY"]) as told:
        assert told.exec(["sh", "-c", "echo $AWS_SECRET_ACCESS_KEY"]).stdout == "x\n"


def test_a_wrong_option_is_refused(env: ptest.Environment) -> None:
    with pytest.raises(TypeError, match="there is no option 'shell' here"):
        env.exec("true", shell=True)  # type: ignore[call-overload]
    with pytest.raises(ptest.InvalidInputError):
        env.exec("true", timeout=-1)


def test_a_running_command_is_read_line_by_line_and_answered(env: ptest.Environment) -> None:
    program = "for line in open(0): print(line.upper(), end='', flush=True)"
    with env.popen(["python", "-c", program], stdin=ptest.PIPE, stdout=ptest.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("a\n")
        assert process.stdout.readline() == "A\n"
        assert process.poll() is None
        process.stdin.close()
        assert process.wait(20) == 0


def test_lines_come_while_the_command_runs(env: ptest.Environment) -> None:
    with env.popen(["sh", "-c", "echo 1; exec sleep 60"], stdout=ptest.PIPE) as process:
        assert next(iter(process)) == "1\n"
        assert process.poll() is None
    assert process.returncode == -signal.SIGTERM


def test_communicate_takes_more_than_pipes_hold(env: ptest.Environment) -> None:
    program = "import sys; d = sys.stdin.read(); print(len(d)); sys.stderr.write('e' * 1_000_000)"
    process = env.popen(["python", "-c", program], stdin=ptest.PIPE, stdout=ptest.PIPE, stderr=ptest.PIPE)
    out, err = process.communicate("i" * 1_000_000)
    assert (out, err) == ("1000000\n", "e" * 1_000_000)
    assert process.returncode == 0


def test_waiting_has_an_end_of_its_own(env: ptest.Environment) -> None:
    with env.popen(["sleep", "60"]) as process:
        with pytest.raises(ptest.TimedOutError):
            process.wait(0.05)
        process.kill()
        assert process.wait(20) == -signal.SIGKILL


def test_a_command_ends_with_its_environment(store: ptest.Store, six: ptest.Snapshot) -> None:
    with store.fork(six) as made:
        process = made.popen(["sleep", "60"])
    with pytest.raises(ptest.PtestError):
        process.wait(20)


def test_a_command_that_fails_to_start_leaves_no_descriptor_open(env: ptest.Environment) -> None:
    env.exec("true")
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        with pytest.raises(ptest.CommandNotFoundError):
            env.popen(["no-such-program"], stdin=ptest.PIPE, stdout=ptest.PIPE, stderr=ptest.PIPE)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_sixteen_threads_run_commands_in_one_environment(env: ptest.Environment) -> None:
    codes: list[int] = []

    def work(number: int) -> None:
        codes.append(env.exec(["sh", "-c", f"exit {number}"]).returncode)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(codes) == list(range(16))
