"""What users write for shards: folders, tars, braces, URLs, object stores and pipes."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from webdataset.shardlists import expand_urls

from mammut_clip.config.errors import InputError
from mammut_clip.data.shards.sources import expand_sources, scheme_of


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """A folder with shards, and with things that are none."""
    for name in ("00001.tar", "00000.tar", "b c.tar", ".hidden.tar", "00000.json"):
        (tmp_path / name).write_bytes(b"")
    return tmp_path


def test_folders_files_and_patterns_become_absolute_paths(shards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    all_of_them = [str(shards / name) for name in ("00000.tar", "00001.tar", "b c.tar")]
    assert expand_sources([str(shards)]) == all_of_them
    assert expand_sources([f"{shards}/"]) == all_of_them
    assert expand_sources([str(shards / "b c.tar"), str(shards / "{00001,00000}.tar")]) == all_of_them[::-1]
    assert expand_sources([(shards / "b c.tar").as_uri()]) == all_of_them[2:]
    assert expand_sources([f"{shards.parent}/{{{shards.name},{shards.name}/00000.json}}"])[:3] == all_of_them
    monkeypatch.chdir(shards)
    monkeypatch.setenv("HOME", str(shards))
    assert expand_sources(["00000.tar", "~/00001.tar"]) == all_of_them[:2]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nowhere", "nowhere: no such file or folder"),
        ("{00000..00003}.tar", r"00002\.tar \(and 1 more\): no such shard; .*\{00000\.\.00003\}\.tar of 4 files"),
        ("{0..1.tar", "unbalanced braces"),
        ("empty", "no .tar files in this folder"),
        ("http://host/data/", r"folders of web servers.*http://host/data/\{00000\.\.00099\}\.tar"),
        ("nosuchthing://host/data/", "unknown protocol nosuchthing://"),
    ],
)
def test_what_cannot_be_found_is_named(
    shards: Path, monkeypatch: pytest.MonkeyPatch, source: str, message: str
) -> None:
    (shards / "empty").mkdir()
    monkeypatch.chdir(shards)
    with pytest.raises(InputError, match=message):
        expand_sources([source])


def test_no_shard_stands_twice(shards: Path) -> None:
    with pytest.raises(InputError, match=r"00001\.tar: named twice in"):
        expand_sources([str(shards), str(shards / "00001.tar")])
    with pytest.raises(InputError, match=r"http://host/1\.tar: named twice"):
        expand_sources(["http://host/{0..2}.tar", "http://host/1.tar"])
    with pytest.raises(InputError, match="no shards named"):
        expand_sources([])


urls = st.sampled_from(
    ["http://host/a", "https://host:8/a", "s3://bucket/p", "gs://b", "pipe:cat /a", "pipe:aws s3 cp s3://b/c"]
)
braces = st.sampled_from(
    ["/{00000..00012}.tar", "/{3..1}.tar", "/{a,b}/{1..2}.tar", "/x{,y}.tar -", "/{a}.tar", "/a.tar"]
)


@given(urls, braces)
def test_patterns_of_urls_and_commands_are_webdatasets(start: str, pattern: str) -> None:
    assert expand_sources([start + pattern]) == expand_urls(start + pattern)


def test_commands_and_urls_without_braces_stay_as_they_are() -> None:
    sources = [r"pipe:cat a\ b.tar | tee >(wc -c)", "http://host/x.tar?sign=a/", "S3://bucket/a.tar"]
    assert expand_sources(sources) == sources
    names = ["pipe:cat a://b", "HTTPS://x/y", "data/a:b.tar", "/a/b", "data/http://b", "a+b.c://d", "pipes/a.tar"]
    assert [scheme_of(name) for name in names] == ["pipe", "https", "", "", "", "a+b.c", ""]


def test_folders_of_object_stores_are_listed(s3: Callable[[str, bytes], str]) -> None:
    for key in ("listed/1.tar", "listed/0.tar", "listed/.hidden.tar", "listed/0.json", "listed/below/2.tar"):
        s3(key, b"x")
    expected = ["s3://shards/listed/0.tar", "s3://shards/listed/1.tar"]
    assert expand_sources(["s3://shards/listed/"]) == expected
    s3("listed/3.tar", b"x")  # listings are not kept
    assert expand_sources(["s3://shards/{listed/,other.tar}"]) == [
        *expected,
        "s3://shards/listed/3.tar",
        "s3://shards/other.tar",
    ]
    for missing in ("s3://shards/nowhere/", "s3://nobucket/", "s3://shards/listed/below/deeper/"):
        with pytest.raises(InputError, match=rf"{missing}: no \.tar files"):
            expand_sources([missing])


def test_any_file_system_of_fsspec_can_be_listed() -> None:
    import fsspec

    for name in ("b", "a"):
        fsspec.filesystem("memory").pipe_file(f"/folder/{name}.tar", b"x")
    assert [name.rpartition("/")[2] for name in expand_sources(["memory://folder/"])] == ["a.tar", "b.tar"]


@pytest.mark.parametrize(("module", "url"), [("s3fs", "s3://bucket/a/"), ("aiohttp", "http://host/a.tar")])
def test_a_package_that_is_missing_is_named_with_what_brings_it(module: str, url: str) -> None:
    code = f"""
import sys
sys.modules[{module!r}] = None
from mammut_clip.config.errors import InputError
from mammut_clip.data.shards.sources import expand_sources
from mammut_clip.data.shards.storage import ShardStorage
try:
    ShardStorage().stamp(expand_sources([{url!r}])[0])
except InputError as error:
    print(error)
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.startswith(f"{url}: reading {url.split(':')[0]}:// needs a package that is not installed")
    assert "pip install 'mammut-clip[remote]'" in said
