"""What is published is decided by what the target holds, not by what state remembers of it."""

from tests.kinds.site import BASE, Site


def files(site: Site, folder: str) -> dict[str, bytes]:
    root = site.root / folder
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and not path.name.startswith(".")
    }


def test_another_target_gets_every_file(site: Site) -> None:
    site.apply()
    before = files(site, "public")
    site.write(base=BASE.replace('url = "public"', 'url = "elsewhere"'))
    assert site.apply().counts == {"publish": 1}
    assert files(site, "elsewhere") == before


def test_lost_and_altered_files_are_put_back_with_the_next_crl(site: Site) -> None:
    site.apply()
    before = files(site, "public")
    (site.root / "public/bundle/trust.pem").write_bytes(b"of somebody else")
    (site.root / "public/ca/root-g1.cer").unlink()
    (site.root / "public/ca/root-g1.pem").unlink()
    (site.root / "public/ca/root-g1.pem").symlink_to("/etc/hostname")
    (site.root / "public/ca/issuing-g1.cer").write_bytes(before["ca/issuing-g1.cer"] + b"and more")
    site.later(1).apply()
    after = files(site, "public")
    assert after.keys() == before.keys()
    assert {name for name in after if after[name] != before[name]} == {
        "crl/root-g1.crl", "crl/issuing-g1.crl", "index.json",
    }  # fmt: skip
