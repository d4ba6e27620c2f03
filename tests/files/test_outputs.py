"""Outputs: chain and key of a certificate switch together, nothing foreign is overwritten, nothing leaves the root."""

import asyncio
import os
import pwd
import resource
import shutil
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkicode.adapters.outputs import run_hook, write_outputs
from pkicode.model.faults import FaultPoint, nothing
from pkicode.model.problem import LeaseLost
from pkicode.ports import OutputFile, OutputSet
from tests.files.processes import ends

CHAIN, KEY = "out/portal.pem", "out/portal.key"


class Stopped(BaseException):
    """The process ends here."""


def pair(generation: int, *, address: str = "cert.portal", chain: str = CHAIN, key: str = KEY, **more) -> OutputSet:
    files = (
        OutputFile(chain, f"chain {generation}".encode(), secret=False),
        OutputFile(key, f"key {generation}".encode(), secret=True),
    )
    return OutputSet(address, generation, files, **more)


async def unhindered() -> None:
    """The lease is ours."""


def write(root: Path, *sets: OutputSet, public=(), reach=nothing, check=unhindered) -> list[str]:
    return list(asyncio.run(write_outputs(sets, root=root, public=public, reach=reach, check=check)))


def stop_at(wanted: FaultPoint):
    def reach(point: FaultPoint) -> None:
        if point == wanted:
            raise Stopped

    return reach


def in_force(root: Path) -> tuple[str, str]:
    return (root / CHAIN).read_text(), (root / KEY).read_text()


def generations(root: Path, address: str = "cert.portal") -> list[str]:
    return sorted(name for name in os.listdir(root / "out/.gen" / address) if name != "current")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_declared_paths_hold_what_was_declared_with_their_modes_whatever_the_umask_says(tmp_path: Path) -> None:
    for umask in (0, 0o077):
        before = os.umask(umask)
        try:
            assert write(tmp_path, pair(umask + 1)) == [""]
        finally:
            os.umask(before)
        assert in_force(tmp_path) == (f"chain {umask + 1}", f"key {umask + 1}")
        assert [mode(tmp_path / CHAIN), mode(tmp_path / KEY)] == [0o644, 0o600]
        assert mode(tmp_path / "out/.gen/cert.portal/current/") == 0o755


def test_the_links_are_relative_so_that_the_folder_may_move(tmp_path: Path) -> None:
    write(tmp_path / "here", pair(1, key="keys/deep/portal.key"))
    (tmp_path / "here").rename(tmp_path / "there")
    assert (tmp_path / "there/keys/deep/portal.key").read_text() == "key 1"
    assert (tmp_path / "there" / CHAIN).read_text() == "chain 1"


@pytest.mark.invariant(7)
def test_who_lost_the_lease_while_staging_switches_nothing(tmp_path: Path) -> None:
    async def lost() -> None:
        raise LeaseLost("taken over")

    write(tmp_path, pair(1))
    with pytest.raises(LeaseLost):
        write(tmp_path, pair(2), check=lost)
    assert (tmp_path / CHAIN).read_text() == "chain 1"
    assert (tmp_path / KEY).read_text() == "key 1"


def test_a_secret_gets_its_mode_and_is_never_readable_by_others_before(tmp_path: Path) -> None:
    script = f"""
        import asyncio
        from pathlib import Path
        from pkicode.adapters.outputs import write_outputs
        from pkicode.model.faults import nothing
        from pkicode.ports import OutputFile, OutputSet
        files = (OutputFile("out/portal.key", b"key", secret=True),)
        one = OutputSet("cert.portal", 1, files, mode=0o640)
        root, ours = Path({str(tmp_path)!r}), lambda: asyncio.sleep(0)
        asyncio.run(write_outputs([one], root=root, public=(), reach=nothing, check=ours))
    """
    trace = tmp_path / "trace"
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    command = [
        "strace",
        "-f",
        "-e",
        "trace=openat,open,fchmod",
        "-o",
        str(trace),
        sys.executable,
        "-c",
        textwrap.dedent(script),
    ]
    subprocess.run(command, check=True, env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])})
    opened = [line for line in trace.read_text().splitlines() if "portal.key" in line and "O_CREAT" in line]
    assert len(opened) == 1
    assert "O_EXCL" in opened[0]
    assert "0600" in opened[0]
    assert mode(tmp_path / KEY) == 0o640


@pytest.mark.invariant(10)
def test_a_process_that_stops_before_the_switch_leaves_the_old_pair_in_force(tmp_path: Path) -> None:
    write(tmp_path, pair(1))
    with pytest.raises(Stopped):
        write(tmp_path, pair(2), reach=stop_at(FaultPoint.OUTPUT_STAGED))
    assert in_force(tmp_path) == ("chain 1", "key 1")
    assert write(tmp_path, pair(2)) == [""]
    assert in_force(tmp_path) == ("chain 2", "key 2")
    assert len(generations(tmp_path)) == 2


@pytest.mark.invariant(10)
def test_a_process_that_stops_after_the_switch_still_has_the_pair_before(tmp_path: Path) -> None:
    write(tmp_path, pair(1))
    with pytest.raises(Stopped):
        write(tmp_path, pair(2), reach=stop_at(FaultPoint.OUTPUT_SWITCHED))
    assert in_force(tmp_path) == ("chain 2", "key 2")
    assert write(tmp_path, pair(2)) == [""]
    assert generations(tmp_path) == ["1", "2"]
    assert (tmp_path / "out/.gen/cert.portal/1/portal.key").read_text() == "key 1"


@pytest.mark.invariant(10)
def test_a_reader_who_enters_through_current_never_sees_a_mixed_pair(tmp_path: Path) -> None:
    write(tmp_path, pair(0))
    script = """
        import os, sys
        seen = set()
        def read(folder, name):
            with open(os.open(name, os.O_RDONLY, dir_fd=folder)) as file:
                return file.read().split()
        while "9" not in seen:
            folder = os.open(sys.argv[1], os.O_RDONLY)
            try:
                chain, key = read(folder, "portal.pem"), read(folder, "portal.key")
            except FileNotFoundError:
                continue  # so slow that the generation it had entered is swept
            finally:
                os.close(folder)
            if (chain[0], key[0]) != ("chain", "key") or chain[1] != key[1]:
                print("mixed", chain, key)
            seen.add(chain[1])
            print(chain[1], flush=True)
    """
    command = [sys.executable, "-c", textwrap.dedent(script), str(tmp_path / "out/.gen/cert.portal/current")]
    reader = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert reader.stdout is not None
    reader.stdout.readline()
    for generation in range(10):
        assert write(tmp_path, pair(generation)) == [""]
    assert "mixed" not in reader.communicate(timeout=60)[0]


def test_only_the_pair_before_is_kept(tmp_path: Path) -> None:
    for generation in (1, 2, 3, 4):
        write(tmp_path, pair(generation))
    assert generations(tmp_path) == ["3", "4"]


def test_writing_the_same_again_touches_nothing(tmp_path: Path) -> None:
    write(tmp_path, pair(1))
    write(tmp_path, pair(2))
    before = {path: path.lstat().st_ino for path in tmp_path.rglob("*")}
    assert write(tmp_path, pair(2)) == [""]
    assert {path: path.lstat().st_ino for path in tmp_path.rglob("*")} == before


def test_a_changed_chain_of_the_same_generation_is_switched_too(tmp_path: Path) -> None:
    write(tmp_path, pair(3))
    files = (OutputFile(CHAIN, b"a longer chain", secret=False), OutputFile(KEY, b"key 3", secret=True))
    assert write(tmp_path, OutputSet("cert.portal", 3, files)) == [""]
    assert in_force(tmp_path) == ("a longer chain", "key 3")
    assert generations(tmp_path) == ["3", "3-2"]
    assert write(tmp_path, pair(3, mode=0o640)) == [""]
    assert mode(tmp_path / KEY) == 0o640
    assert len(generations(tmp_path)) == 2


@pytest.mark.parametrize("damage", ["bytes", "mode", "gone", "link"])
def test_files_that_were_meddled_with_are_written_again(tmp_path: Path, damage: str) -> None:
    write(tmp_path, pair(1))
    key = tmp_path / "out/.gen/cert.portal/1/portal.key"
    if damage == "bytes":
        key.write_bytes(b"other")
    elif damage == "mode":
        key.chmod(0o644)
    elif damage == "gone":
        key.unlink()
    else:
        (tmp_path / KEY).unlink()
    assert write(tmp_path, pair(1)) == [""]
    assert in_force(tmp_path) == ("chain 1", "key 1")
    assert mode(tmp_path / KEY) == 0o600


@pytest.mark.parametrize("kind", ["file", "link", "folder"])
def test_what_somebody_else_put_at_a_declared_path_is_never_overwritten(tmp_path: Path, kind: str) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "precious").write_bytes(b"precious")
    path = tmp_path / KEY
    if kind == "file":
        path.write_bytes(b"precious")
    elif kind == "link":
        path.symlink_to("../precious")
    else:
        path.mkdir()
    [said] = write(tmp_path, pair(1))
    assert "was not written by pkicode" in said
    assert "move it away" in said
    assert (tmp_path / "precious").read_bytes() == b"precious"
    assert path.is_symlink() == (kind == "link")
    assert not (tmp_path / CHAIN).exists()


def test_one_set_that_cannot_be_written_stops_no_other(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/b.pem").write_bytes(b"precious")
    sets = [pair(1, address=f"cert.{name}", chain=f"out/{name}.pem", key=f"out/{name}.key") for name in "abc"]
    said = write(tmp_path, *sets)
    assert [bool(text) for text in said] == [False, True, False]
    assert (tmp_path / "out/a.key").read_text() == "key 1"
    assert (tmp_path / "out/c.key").read_text() == "key 1"
    assert not (tmp_path / "out/b.key").is_symlink()


@pytest.mark.parametrize("path", ["../x.pem", "out/../../x.pem", "link/x.pem", "link/deeper/x.pem"])
def test_a_relative_path_stays_inside_the_root_links_included(tmp_path: Path, path: str) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    (root / "link").symlink_to(outside)
    for one in (pair(1, chain=path), pair(1, key=path)):
        [said] = write(root, one)
        assert "leaves the project's folder" in said
    assert list(outside.iterdir()) == []
    assert not (tmp_path / "x.pem").exists()


@pytest.mark.parametrize("aim", ["out", ".pkicode", ".git/hooks"])
@pytest.mark.parametrize("path", ["link/x.pem", "teams/link/deeper/x.pem"])
def test_a_relative_path_goes_through_no_link_inside_the_root(tmp_path: Path, aim: str, path: str) -> None:
    (tmp_path / aim).mkdir(parents=True)
    link = tmp_path / path.partition("link")[0] / "link"
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(tmp_path / aim)
    for one in (pair(1, chain=path), pair(1, key=path)):
        [said] = write(tmp_path, one)
        assert "goes through a link" in said
    assert list((tmp_path / aim).iterdir()) == []


@pytest.mark.parametrize("path", [".pkicode/x.pem", "out/.git/x.pem"])
def test_a_private_folder_is_not_written_to_however_it_is_named(tmp_path: Path, path: str) -> None:
    for declared in (path, str(tmp_path / path)):
        [said] = write(tmp_path, pair(1, chain=declared))
        assert "into .pkicode or .git" in said
    assert not (tmp_path / path).exists()


@pytest.mark.parametrize(
    ("chain", "key"), [("out/a.pem", "public/a.key"), ("public/deep/a.pem", "out/a.key"), ("out/a.pem", "{}/public/k")]
)
def test_no_key_is_kept_in_a_folder_that_is_published(tmp_path: Path, chain: str, key: str) -> None:
    (tmp_path / "www").mkdir()
    (tmp_path / "www/link").symlink_to(tmp_path / "public")
    [said] = write(tmp_path, pair(1, chain=chain, key=key.format(tmp_path)), public=[tmp_path / "www/link"])
    assert "is published" in said
    assert not (tmp_path / "public").exists()


def test_a_chain_without_its_key_may_be_published(tmp_path: Path) -> None:
    alone = OutputSet("cert.portal", 1, (OutputFile("public/a.pem", b"chain", secret=False),))
    assert write(tmp_path, alone, public=[tmp_path / "public"]) == [""]


def test_an_absolute_path_is_written_where_it_was_declared(tmp_path: Path) -> None:
    root, elsewhere = tmp_path / "root", tmp_path / "etc"
    root.mkdir()
    assert write(root, pair(1, chain=str(elsewhere / "a.pem"), key=str(elsewhere / "a.key"))) == [""]
    assert (elsewhere / "a.key").read_text() == "key 1"
    assert list(root.iterdir()) == []


@pytest.mark.parametrize("path", ["", ".", "out/..", "out/.gen/x", ".gen", "a\0b", "/"])
def test_a_path_that_is_no_file_name_is_refused(tmp_path: Path, path: str) -> None:
    [said] = write(tmp_path, pair(1, key=path))
    assert "is not a path an output can have" in said


def test_a_planted_link_in_place_of_the_generations_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out/.gen").symlink_to(tmp_path / "outside")
    [said] = write(tmp_path, pair(1))
    assert "leads elsewhere through a link" in said
    assert list((tmp_path / "outside").iterdir()) == []


def test_two_files_of_one_set_may_share_a_name_but_not_a_path(tmp_path: Path) -> None:
    assert write(tmp_path, pair(1, chain="a/tls.pem", key="b/tls.pem")) == [""]
    assert (tmp_path / "a/tls.pem").read_text() == "chain 1"
    assert (tmp_path / "b/tls.pem").read_text() == "key 1"
    [said] = write(tmp_path, pair(1, chain="a/tls.pem", key="a/../a/tls.pem"))
    assert "the same path" in said


def test_a_moved_address_takes_its_paths_along(tmp_path: Path) -> None:
    write(tmp_path, pair(1))
    assert write(tmp_path, pair(2, address="cert.gate")) == [""]
    assert in_force(tmp_path) == ("chain 2", "key 2")


def test_a_changed_path_is_written_and_the_unchanged_one_stays_whole(tmp_path: Path) -> None:
    write(tmp_path, pair(1))
    assert write(tmp_path, pair(1, key="private/portal.key")) == [""]
    assert (tmp_path / "private/portal.key").read_text() == "key 1"
    assert (tmp_path / CHAIN).read_text() == "chain 1"


@given(st.lists(st.text(min_size=1, max_size=60).filter(lambda key: "\0" not in key), unique=True, max_size=5))
def test_addresses_never_share_a_folder_however_hostile_their_keys(keys: list[str]) -> None:
    from pkicode.adapters.outputs import _slug
    from pkicode.model.address import Address

    slugs = [_slug(str(Address("cert", "fleet", key))) for key in keys]
    assert len(set(slugs)) == len(slugs)
    assert all(len(slug) < 128 and "/" not in slug and slug.isascii() and slug.startswith("cert.") for slug in slugs)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_owner_and_group_are_set_on_every_file_before_the_switch(tmp_path: Path) -> None:
    def look(point: FaultPoint) -> None:
        if point is FaultPoint.OUTPUT_STAGED:
            facts = (tmp_path / "out/.gen/cert.portal/1/portal.key").stat()
            assert (facts.st_uid, facts.st_gid, stat.S_IMODE(facts.st_mode)) == (user.pw_uid, 0, 0o440)

    user = pwd.getpwnam("nobody")
    assert write(tmp_path, pair(1, owner="nobody", group="root", mode=0o440), reach=look) == [""]
    assert (tmp_path / CHAIN).stat().st_uid == user.pw_uid


def test_an_unknown_owner_is_named(tmp_path: Path) -> None:
    [said] = write(tmp_path, pair(1, owner="no-such-user"))
    assert "no-such-user" in said
    assert not (tmp_path / KEY).exists()


def test_a_disk_that_takes_no_more_leaves_the_old_pair_and_says_so(tmp_path: Path) -> None:
    write(tmp_path, pair(1))
    big = OutputSet(
        "cert.portal", 2, (OutputFile(CHAIN, b"x" * 100_000, secret=False), OutputFile(KEY, b"y", secret=True))
    )
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
    try:
        [said] = write(tmp_path, big)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "File too large" in said
    assert in_force(tmp_path) == ("chain 1", "key 1")
    assert generations(tmp_path) == ["1"]


def hook(root: Path, *command: str, outer: dict[str, str] | None = None, **environ: str) -> str:
    return asyncio.run(run_hook(command, environ, root=root, outer=outer or dict(os.environ)))


def test_a_hook_runs_in_the_root_and_says_nothing_when_it_succeeds(tmp_path: Path) -> None:
    assert (
        hook(tmp_path, "/bin/sh", "-c", "echo $PKICODE_ADDRESS > said; echo noise", PKICODE_ADDRESS="cert.portal") == ""
    )
    assert (tmp_path / "said").read_text() == "cert.portal\n"


def test_a_hook_sees_nothing_of_our_environment_but_path_home_and_lang(tmp_path: Path) -> None:
    outer = {
        "PATH": "/usr/bin:/bin",
        "HOME": "/home/x",
        "LANG": "C.UTF-8",
        "PKICODE_KEY_PASSPHRASE": "hunter2",
        "LD_PRELOAD": "",
    }
    assert hook(tmp_path, "/bin/sh", "-c", "/usr/bin/env > said", outer=outer, PKICODE_GENERATION="2") == ""
    names = {line.partition("=")[0] for line in (tmp_path / "said").read_text().splitlines()}
    assert names - {"PWD", "SHLVL", "_", "OLDPWD"} == {"PATH", "HOME", "LANG", "PKICODE_GENERATION"}


def test_a_hook_is_not_given_to_a_shell(tmp_path: Path) -> None:
    assert hook(tmp_path, "/bin/echo", "x; touch said") == ""
    assert not (tmp_path / "said").exists()


def test_a_failed_hook_is_told_with_its_output_made_printable(tmp_path: Path) -> None:
    said = hook(tmp_path, "/bin/sh", "-c", r"printf 'config \033[31mbad\377\n'; echo and more >&2; exit 7")
    assert said.startswith("`/bin/sh` ended with exit code 7: config ")
    assert "config \N{REPLACEMENT CHARACTER}[31mbad" in said
    assert said.endswith("; and more")
    assert said.isprintable()


def test_the_output_of_a_hook_is_limited_and_a_flood_is_no_failure(tmp_path: Path) -> None:
    flood = "head -c 3000000 /dev/zero | tr '\\0' x"
    assert hook(tmp_path, "/bin/sh", "-c", flood) == ""
    assert len(hook(tmp_path, "/bin/sh", "-c", f"{flood}; exit 1")) < 66_000


@pytest.mark.parametrize("command", [("/no/such/hook",), ("/etc/passwd",), ("a\0b",)])
def test_a_hook_that_cannot_be_started_is_told(tmp_path: Path, command: tuple[str, ...]) -> None:
    assert "could not be started" in hook(tmp_path, *command)


def test_a_cancelled_apply_leaves_no_hook_running(tmp_path: Path) -> None:
    async def main() -> None:
        os.mkfifo(tmp_path / "fifo")
        script = "sleep 300 & echo $! $$ > fifo; wait"
        task = asyncio.create_task(run_hook(("/bin/sh", "-c", script), {}, root=tmp_path, outer=os.environ))
        pids.extend(map(int, (await asyncio.to_thread((tmp_path / "fifo").read_text)).split()))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    pids: list[int] = []
    asyncio.run(main())
    assert len(pids) == 2
    assert all(ends(pid) for pid in pids)
