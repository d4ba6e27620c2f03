"""Publishing: whole files or none, in order, never outside the target, never by a process that lost its lease."""

import asyncio
import os
import signal
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from fsspec import register_implementation
from fsspec.implementations.memory import MemoryFileSystem

from pkicode.adapters.publish import open_publisher
from pkicode.model.faults import FaultPoint, nothing
from pkicode.model.problem import Foreign, LeaseLost, PkicodeError

CRL, CERT = "application/pkix-crl", "application/pkix-cert"


class Stopped(BaseException):
    """The process ends here."""


async def allowed() -> None:
    pass


def publisher(url: str, root: Path, reach=nothing, check=allowed):
    return open_publisher(url, root, reach=reach, check=check)


def put(target, *files: tuple[str, bytes]) -> None:
    asyncio.run(target.put([(path, data, CRL) for path, data in files]))


def read(target, path: str, limit: int = 1000) -> bytes | None:
    return asyncio.run(target.read(path, limit=limit))


@pytest.fixture(params=["public", "memory"])
def target(request: pytest.FixtureRequest, tmp_path: Path):
    return publisher("public" if request.param == "public" else f"memory://{tmp_path.name}/web", tmp_path)


def test_what_was_put_is_read_and_replaced(target) -> None:
    assert read(target, "crl/issuing-g1.crl") is None
    put(target, ("crl/issuing-g1.crl", b"one"), ("ca/issuing-g1.cer", b"cert"))
    assert read(target, "crl/issuing-g1.crl") == b"one"
    put(target, ("crl/issuing-g1.crl", b"second"))
    assert read(target, "crl/issuing-g1.crl") == b"second"
    assert read(target, "ca/issuing-g1.cer") == b"cert"
    put(target)


def test_more_than_the_limit_is_an_error_and_not_half_a_file(target) -> None:
    put(target, ("a.crl", b"x" * 100))
    assert read(target, "a.crl", limit=100) == b"x" * 100
    with pytest.raises(PkicodeError, match="at most 99 bytes"):
        read(target, "a.crl", limit=99)


@pytest.mark.parametrize("what", ["pipe", "link", "folder", "huge"])
def test_what_cannot_be_a_published_file_is_refused_without_waiting_for_it(tmp_path: Path, what: str) -> None:
    target = publisher("public", tmp_path)
    put(target, ("a.crl", b"ours"))
    place = tmp_path / "public/a.crl"
    place.unlink()
    if what == "pipe":
        os.mkfifo(place)
    elif what == "link":
        place.symlink_to("/dev/zero")
    elif what == "folder":
        place.mkdir()
    else:
        with place.open("wb") as file:
            file.truncate(1 << 40)
    with pytest.raises(Foreign, match="not a plain file"):
        read(target, "a.crl")


@pytest.mark.parametrize(
    "path",
    ["", "/etc/x", "../x", "crl/../../x", "crl//x", "./x", "crl/", ".hidden", "a\\b", "a\0b", "a\nb", "a/.git/b"],
)
def test_a_path_that_leaves_the_target_or_hides_is_refused(target, tmp_path: Path, path: str) -> None:
    with pytest.raises(PkicodeError, match="not a path below"):
        put(target, (path, b"data"))
    with pytest.raises(PkicodeError, match="not a path below"):
        read(target, path)


def test_a_lost_lease_puts_nothing_in_place(tmp_path: Path) -> None:
    async def lost() -> None:
        raise LeaseLost("somebody else has the lease")

    for url in ("public", f"memory://{tmp_path.name}"):
        put(publisher(url, tmp_path), ("a.crl", b"newer"))
        with pytest.raises(LeaseLost):
            put(publisher(url, tmp_path, check=lost), ("a.crl", b"older"), ("b.crl", b"older"))
        assert read(publisher(url, tmp_path), "a.crl") == b"newer"
        assert read(publisher(url, tmp_path), "b.crl") is None


def test_files_and_folders_are_for_everybody_to_read_whatever_the_umask_says(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        put(publisher("public", tmp_path), ("a.crl", b"data"))
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "public/a.crl").stat().st_mode) == 0o644


def test_nothing_but_the_files_and_the_lock_stays(tmp_path: Path) -> None:
    put(publisher("public", tmp_path), ("crl/a.crl", b"data"), ("index.json", b"{}"))
    found = sorted(str(path.relative_to(tmp_path / "public")) for path in (tmp_path / "public").rglob("*"))
    assert found == [".pkicode.lock", "crl", "crl/a.crl", "index.json"]


@pytest.mark.parametrize("url", ["file:///{}", "file:{}", "local://{}", "{}"])
def test_an_absolute_folder_is_reached_by_every_way_to_write_it(tmp_path: Path, url: str) -> None:
    root, elsewhere = tmp_path / "root", tmp_path / "else where"
    root.mkdir()
    written = url.replace("///{}", "//{}").format(str(elsewhere).replace(" ", "%20") if ":" in url else elsewhere)
    put(publisher(written, root), ("a.crl", b"data"))
    assert (elsewhere / "a.crl").read_bytes() == b"data"
    assert list(root.iterdir()) == []


@pytest.mark.parametrize("url", ["../outside", "file:../outside", "link", "link/deeper", "file://link"])
def test_a_relative_target_stays_inside_the_project_links_included(tmp_path: Path, url: str) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "outside").mkdir()
    (root / "link").symlink_to(tmp_path / "outside")
    with pytest.raises(PkicodeError, match="leaves the project's folder"):
        publisher(url, root)


def test_a_link_below_the_target_that_leaves_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "public").mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "public/crl").symlink_to(tmp_path / "outside")
    with pytest.raises(PkicodeError, match="through a link"):
        put(publisher("public", tmp_path), ("crl/a.crl", b"data"))
    assert list((tmp_path / "outside").iterdir()) == []


def test_a_folder_that_leads_to_itself_is_an_error_and_no_surprise(tmp_path: Path) -> None:
    target = publisher("public", tmp_path)
    (tmp_path / "public").mkdir()
    (tmp_path / "public/crl").symlink_to("crl")
    with pytest.raises(PkicodeError, match="crl: Not a directory"):
        put(target, ("crl/a.crl", b"data"))
    with pytest.raises(PkicodeError, match="crl: Not a directory"):
        read(target, "crl/a.crl")


def test_a_link_that_comes_while_files_are_put_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()

    async def swapped() -> None:
        (tmp_path / "public/crl").rename(tmp_path / "public/aside")
        (tmp_path / "public/crl").symlink_to(tmp_path / "outside")

    with pytest.raises(PkicodeError, match="through a link"):
        put(publisher("public", tmp_path, check=swapped), ("crl/a.crl", b"data"))
    assert list((tmp_path / "outside").iterdir()) == []


def test_what_is_in_the_way_is_named(tmp_path: Path) -> None:
    target = publisher("public", tmp_path)
    (tmp_path / "public/crl/a.crl").mkdir(parents=True)
    with pytest.raises(PkicodeError, match=r"public: .*a\.crl.*: Is a directory"):
        put(target, ("crl/a.crl", b"data"))


def test_a_link_in_place_of_a_file_is_replaced_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "public").mkdir()
    (tmp_path / "precious").write_bytes(b"precious")
    (tmp_path / "public/a.crl").symlink_to(tmp_path / "precious")
    put(publisher("public", tmp_path), ("a.crl", b"data"))
    assert (tmp_path / "precious").read_bytes() == b"precious"
    assert (tmp_path / "public/a.crl").read_bytes() == b"data"
    assert not (tmp_path / "public/a.crl").is_symlink()


@pytest.mark.invariant(9)
def test_a_process_that_stops_before_the_switch_leaves_every_old_file(tmp_path: Path) -> None:
    put(publisher("public", tmp_path), ("a.crl", b"old a"), ("b.crl", b"old b"))
    seen = []

    def stop(point: FaultPoint) -> None:
        seen.append(point)
        assert sorted(path.read_bytes() for path in (tmp_path / "public").glob(".*.draft")) == [b"new a", b"new b"]
        raise Stopped

    with pytest.raises(Stopped):
        put(publisher("public", tmp_path, reach=stop), ("a.crl", b"new a"), ("b.crl", b"new b"))
    assert seen == [FaultPoint.PUBLISH_STAGED]
    target = publisher("public", tmp_path)
    assert [read(target, "a.crl"), read(target, "b.crl")] == [b"old a", b"old b"]
    put(target, ("a.crl", b"new a"), ("b.crl", b"new b"))
    assert [read(target, "a.crl"), read(target, "b.crl")] == [b"new a", b"new b"]
    assert list((tmp_path / "public").glob(".*.draft")) == []


@pytest.mark.invariant(9)
def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    versions = [bytes([number]) * 200_000 for number in range(20)]
    target = publisher("public", tmp_path)
    put(target, ("a.crl", versions[0]))
    script = """
        import sys
        while True:
            data = open(sys.argv[1], "rb").read()
            if len(data) != 200000 or len(set(data)) != 1:
                print("half", len(data), flush=True)
            else:
                print(data[0], flush=True)
            if data[0] == 19:
                break
    """
    command = [sys.executable, "-c", textwrap.dedent(script), str(tmp_path / "public/a.crl")]
    reader = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert reader.stdout is not None
    reader.stdout.readline()
    for version in versions:
        put(target, ("a.crl", version))
    said = reader.communicate(timeout=60)[0]
    assert "half" not in said
    assert said.split()[-1] == "19"


@pytest.mark.invariant(7)
def test_a_process_that_slept_through_its_lease_wakes_up_to_the_loss_of_it(tmp_path: Path) -> None:
    """Stopped by SIGSTOP before the lock; meanwhile another one takes over and publishes something newer."""
    script = """
        import asyncio, os, signal, sys
        from pathlib import Path
        from pkicode.adapters.publish import open_publisher
        from pkicode.model.faults import nothing
        from pkicode.model.problem import LeaseLost
        epoch = Path("epoch")
        async def check():
            if epoch.read_text() != "1":
                raise LeaseLost("gone")
        target = open_publisher("public", Path("."), reach=nothing, check=check)
        os.kill(os.getpid(), signal.SIGSTOP)
        try:
            asyncio.run(target.put([("a.crl", b"older", "")]))
        except LeaseLost:
            print("lost")
    """
    (tmp_path / "epoch").write_text("1")
    environ = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    sleeper = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)], cwd=tmp_path, stdout=subprocess.PIPE, text=True, env=environ
    )
    os.waitpid(sleeper.pid, os.WUNTRACED)
    (tmp_path / "epoch").write_text("2")
    put(publisher("public", tmp_path), ("a.crl", b"newer"))
    os.kill(sleeper.pid, signal.SIGCONT)
    assert sleeper.communicate(timeout=60)[0] == "lost\n"
    assert (tmp_path / "public/a.crl").read_bytes() == b"newer"


def test_two_publishers_take_turns(tmp_path: Path) -> None:
    async def main() -> list[str]:
        seen: list[str] = []

        def check(name: str):
            async def look() -> None:
                seen.append(name)
                await asyncio.sleep(0)
                seen.append(name)

            return look

        both = [publisher("public", tmp_path, check=check(name)) for name in "ab"]
        await asyncio.gather(*(one.put([("x.crl", b"data", CRL)]) for one in both))
        return seen

    assert asyncio.run(main()) in (list("aabb"), list("bbaa"))


def test_somebody_elses_bytes_found_on_reading_back_are_an_error(tmp_path: Path) -> None:
    class Cached(MemoryFileSystem):
        """An object store behind a cache that answers with yesterday's bytes."""

        protocol = "cached"

        def cat_file(self, path, start=None, end=None, **options):
            return b"yesterday"

    register_implementation("cached", Cached)
    with pytest.raises(PkicodeError, match="reading it back gives something else"):
        put(publisher("cached://x", tmp_path), ("a.crl", b"data"))


@pytest.mark.parametrize("url", ["bogus://x", "notascheme:x"])
def test_an_unknown_scheme_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(PkicodeError, match="no library knows"):
        publisher(url, tmp_path)


def test_a_chained_url_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PkicodeError, match="chained"):
        publisher("simplecache::memory://x", tmp_path)


def test_a_target_that_cannot_be_reached_is_named_without_its_credentials(tmp_path: Path) -> None:
    with pytest.raises(PkicodeError, match=r"publish target ftp://127\.0\.0\.1:1/x") as caught:
        publisher("ftp://user:hunter2@127.0.0.1:1/x", tmp_path)
    assert "hunter2" not in repr(caught.value) + caught.value.help


def test_a_folder_that_cannot_be_made_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "public").write_bytes(b"a file")
    with pytest.raises(PkicodeError, match="publish target"):
        put(publisher("public", tmp_path), ("a.crl", b"data"))
