"""Modules of open_clip without its package: the same as with it, and nothing else is loaded."""

import pickle
import subprocess
import sys

import pytest

from mammut_clip.data.open_clip_files import open_clip_module
from mammut_clip.data.text import ClipTokenizer

TEXTS = ["a photo of a cat", "Ça va?  &amp; more", "12 o'clock: naïve 日本語 🙂", ""]


def test_the_tokenizer_is_open_clips() -> None:
    open_clip = pytest.importorskip("open_clip")
    assert ClipTokenizer()(TEXTS).equal(open_clip.get_tokenizer("ViT-B-32")(TEXTS))
    alone = open_clip_module("zero_shot_metadata")
    assert alone.IMAGENET_CLASSNAMES == open_clip.IMAGENET_CLASSNAMES


def test_the_package_is_not_loaded_for_a_tokenizer() -> None:
    code = (
        "from mammut_clip.data.text import ClipTokenizer; print(ClipTokenizer()('a cat')[0, :4].tolist()); "
        "import sys; assert 'open_clip' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[49406, 320, 2368, 49407]"


def test_a_tokenizer_travels_to_other_processes() -> None:
    tokenizer = ClipTokenizer(32)
    code = "import pickle, sys; print(pickle.load(sys.stdin.buffer)('a cat').tolist())"
    done = subprocess.run([sys.executable, "-c", code], input=pickle.dumps(tokenizer), capture_output=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode().strip() == str(tokenizer("a cat").tolist())
