"""The page, made with Gradio.

Uploads go into a folder of this process and are deleted as soon as they are answered; answers are parts of the page and
never files. Nothing is fetched from other servers, and Gradio's telemetry is off.
"""

import logging
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from os import environ
from pathlib import Path
from types import MappingProxyType
from typing import Any

from gcvideo.data.listing import SUFFIXES
from gcvideo.errors import UsageError
from gcvideo.recognition import Recognizer
from gcvideo.serving.answer import Answer, Examples, Limits, answer, data_uri

log = logging.getLogger(__name__)

LOOPBACK = ("127.0.0.1", "localhost", "::1")
UNANSWERED_S = 600  # after which an upload that nobody asked an answer for is deleted
_UNUSED = "unused"
_NOT_SENT = MappingProxyType({"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_DISABLE_TELEMETRY": "1"})


@dataclass(frozen=True)
class Served:
    """A running page.

    Attributes:
        url: its address.
        uploads: folder of the files that are being answered.
    """

    url: str
    uploads: Path


@contextmanager
def serving(
    recognizer: Recognizer,
    examples: Examples = Examples(),
    limits: Limits = Limits(),
    host: str = "127.0.0.1",
    port: int = 7860,
) -> Iterator[Served]:
    """Serve the page while the block runs.

    Args:
        recognizer: the model.
        examples: videos to choose.
        limits: of uploads.
        host: address to listen at; another than a loopback address lets other machines in.
        port: 0 takes a free one.

    Raises:
        UsageError: gradio is not installed, or the port can't be used.
    """
    with tempfile.TemporaryDirectory(prefix="gcvideo-serve-") as folder, _environment(folder):
        page = build(recognizer, examples, limits, Path(folder))
        gradio = _gradio()
        try:
            _, url, _ = page.launch(
                server_name=host,
                # 0 would be Gradio's own default
                server_port=port or _free_port(host),
                prevent_thread_lock=True,
                quiet=True,
                share=False,
                ssr_mode=False,
                pwa=False,
                run_history=False,
                footer_links=[],
                max_file_size=int(limits.max_mb * 1e6),
                theme=gradio.themes.Base(font=["system-ui", "sans-serif"], font_mono=["monospace"]),
                css=_CSS,
            )
        except OSError as error:
            raise UsageError(f"can't listen at {host}:{port}: {error}") from error
        try:
            yield Served(url, Path(folder))
        finally:
            page.close()


def build(recognizer: Recognizer, examples: Examples, limits: Limits, uploads: Path) -> Any:
    """The page as `gradio.Blocks`.

    Args:
        recognizer: the model.
        examples: videos to choose.
        limits: of uploads.
        uploads: folder of Gradio's uploads; every file in it is deleted once it is answered.

    Raises:
        UsageError: gradio is not installed.
    """
    gradio = _gradio()
    (uploads / _UNUSED).mkdir()

    def of_upload(file: str | None) -> list[Any]:
        if file is None:
            return [None, *_shown(gradio, Answer("", {}, b"", {}))]
        path = Path(file)
        try:
            return [None, *_shown(gradio, _answered(recognizer, path, limits))]
        finally:
            _delete(path, uploads)

    def of_example(name: str | None) -> list[Any]:
        path = examples.files.get(name or "")
        return _shown(gradio, Answer("", {}, b"", {}) if path is None else _answered(recognizer, path, limits))

    with gradio.Blocks(
        title=f"gcvideo: {recognizer.name}", analytics_enabled=False, delete_cache=(60, UNANSWERED_S)
    ) as page:
        gradio.Markdown(
            f"# {_plain(recognizer.name)}\n{len(recognizer.class_names)} classes. Drop a clip of at most "
            f"{limits.max_mb:g} MB and {limits.max_s:g} s; it is deleted as soon as it is answered."
        )
        with gradio.Row():
            with gradio.Column(scale=1):
                upload = gradio.File(label="Clip", file_types=list(SUFFIXES), elem_id="upload", height=140)
                # For each upload it also makes an empty file there, which nothing uses: a folder of their own, because
                # in that of the uploads they look like files that are being received.
                upload.GRADIO_CACHE = str(uploads / _UNUSED)
                example = gradio.Dropdown(
                    [*examples.files],
                    value=None,
                    label="or an example",
                    visible=bool(examples.files),
                    elem_id="example",
                )
                message = gradio.Markdown(elem_id="message")
                scores = gradio.Label(label="Classes", num_top_classes=5, elem_id="scores")
            with gradio.Column(scale=2):
                timeline = gradio.HTML(elem_id="timeline")
                block = gradio.Dropdown([], label="Attention of", visible=False, elem_id="block")
                overlay = gradio.HTML(elem_id="overlay")
        overlays = gradio.State({}, time_to_live=UNANSWERED_S)
        outputs = [message, scores, timeline, block, overlay, overlays]
        options = {"api_visibility": "private", "concurrency_id": "model", "concurrency_limit": 1}
        upload.upload(of_upload, upload, [upload, *outputs], **options)
        example.input(of_example, example, outputs, **options)
        block.input(_overlay, [block, overlays], overlay, api_visibility="private")
    return page


def _answered(recognizer: Recognizer, path: Path, limits: Limits) -> Answer:
    try:
        return answer(recognizer, path, path.name, limits)
    except Exception:  # a visitor gets no traceback, and the page stays up
        log.exception("%s could not be answered", path.name)
        return Answer(f"{path.name} could not be answered; the server's log says why", {}, b"", {})


def _shown(gradio: Any, found: Answer) -> list[Any]:
    """Values of the components of the answer."""
    pictures = {name: data_uri(content, "gif") for name, content in found.overlays.items()}
    first = next(iter(pictures), None)
    return [
        _plain(found.message),
        found.scores or None,
        f'<img alt="timeline" src="{data_uri(found.timeline, "png")}">' if found.timeline else "",
        gradio.Dropdown(choices=list(pictures), value=first, visible=bool(pictures)),
        _overlay(first, pictures),
        pictures,
    ]


def _overlay(name: str | None, pictures: dict[str, str]) -> str:
    if name not in pictures:
        return ""
    return f'<img alt="{escape(name)}" src="{pictures[name]}">'


def _plain(text: str) -> str:
    """Text of anyone in Markdown."""
    return "".join(f"&#{ord(c)};" if c in "`*_|<>[]#&\\!$" else c for c in " ".join(text.split()))


def _delete(path: Path, uploads: Path) -> None:
    """Delete an upload and the folder that Gradio made for it; never a file that is not an upload."""
    if uploads.resolve() in path.resolve().parents:
        path.unlink(missing_ok=True)
        for unused in (uploads / _UNUSED).iterdir():
            unused.unlink(missing_ok=True)
        top = uploads / path.resolve().relative_to(uploads.resolve()).parts[0]
        if top.is_dir():
            shutil.rmtree(top, ignore_errors=True)


def _gradio() -> Any:
    try:
        import gradio
    except ImportError:
        raise UsageError("the page needs gradio: pip install 'gcvideo[web]'") from None
    return gradio


def _free_port(host: str) -> int:
    import socket

    with socket.create_server((host, 0)) as server:
        return int(server.getsockname()[1])


@contextmanager
def _environment(uploads: str) -> Iterator[None]:
    """Where Gradio puts uploads, and that it sends nothing to anyone; as before after the block."""
    settings = {**_NOT_SENT, "GRADIO_TEMP_DIR": uploads}
    before = {name: environ.get(name) for name in settings}
    environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                environ.pop(name, None)
            else:
                environ[name] = value


_CSS = "#timeline img, #overlay img { max-width: 100%; background: white; border-radius: 6px; }"
