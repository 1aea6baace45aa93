from __future__ import annotations

import json
import shutil
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto

from tiny_bundle import graph, tokenizer, write_tiny
from tutelage.bundle.limits import Limits
from tutelage.bundle.onnx_file import has_external_data
from tutelage.bundle.predict import load
from tutelage.bundle.read import open_bundle
from tutelage.bundle.write import FILES, write
from tutelage.errors import BundleError
from tutelage.storage import MANIFEST, write_manifest
from tutelage.tasks import TextClassification, TextRegression


def test_a_written_bundle_opens_with_all_it_was_given(folder: Path) -> None:
    contents = open_bundle(folder, expect_task="text-classification")
    assert contents.task == TextClassification(("neg", "pos"))
    assert contents.limits == Limits()
    assert contents.card == "# Tiny\n"
    assert sorted(file.name for file in folder.iterdir()) == sorted([*FILES, MANIFEST])


@pytest.mark.parametrize("name", [*FILES, MANIFEST])
@pytest.mark.parametrize("where", ["first", "middle", "last"])
def test_a_flipped_byte_is_refused(folder: Path, name: str, where: str) -> None:
    content = bytearray((folder / name).read_bytes())
    # The manifest's last byte is a newline, which JSON ignores; the brace before it is not.
    last = len(content) - (2 if name == MANIFEST else 1)
    content[{"first": 0, "middle": len(content) // 2, "last": last}[where]] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(BundleError, match="not intact"):
        open_bundle(folder)


@pytest.mark.parametrize("name", [*FILES, MANIFEST])
def test_a_truncated_or_missing_file_is_refused(folder: Path, name: str) -> None:
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(BundleError, match=name.replace(".", r"\.")):
        open_bundle(folder)
    (folder / name).unlink()
    with pytest.raises(BundleError, match="missing"):
        open_bundle(folder)


def test_a_file_that_does_not_belong_is_refused(folder: Path) -> None:
    (folder / "deeper").mkdir()
    (folder / "deeper" / "extra.bin").write_bytes(b"x")
    with pytest.raises(BundleError, match=r"deeper/extra\.bin does not belong"):
        open_bundle(folder)


@pytest.mark.parametrize("inside", [True, False])
def test_a_link_is_refused_even_when_what_it_names_is_right(folder: Path, inside: bool) -> None:
    elsewhere = folder.parent / "elsewhere.md"
    shutil.move(folder / "README.md", elsewhere)
    link = folder / ("README.md" if inside else "more.md")
    link.symlink_to(elsewhere)
    with pytest.raises(BundleError, match="symbolic link"):
        open_bundle(folder)


@pytest.mark.parametrize("name", ["../secret", "/etc/hostname"])
def test_a_manifest_that_names_files_outside_is_refused(folder: Path, name: str) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["files"][name] = {"bytes": 1, "sha256": "0" * 64}
    (folder / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match="points outside"):
        open_bundle(folder)


def test_a_manifest_without_the_model_is_refused(folder: Path) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    del manifest["files"]["model.onnx"]
    (folder / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match=r"model\.onnx is not in manifest"):
        open_bundle(folder)


def test_a_deeply_nested_manifest_is_refused_without_a_traceback(folder: Path) -> None:
    (folder / MANIFEST).write_text('{"files":' + "[" * 200_000)
    with pytest.raises(BundleError):
        open_bundle(folder)


@pytest.mark.parametrize(
    ("name", "change", "match"),
    [
        ("limits.json", {"format": 2}, "format 2"),
        ("limits.json", {"surprise": 1}, "surprise"),
        ("limits.json", {"max_tokens": "256"}, "max_tokens"),
        ("limits.json", {"inputs": ["input_ids"]}, "inputs"),
        ("task.json", {"name": "mind-reading"}, "mind-reading"),
        ("task.json", {"labels": "pos"}, "labels"),
    ],
)
def test_contents_that_cannot_be_understood_are_refused(
    folder: Path, name: str, change: dict[str, object], match: str
) -> None:
    (folder / name).write_text(json.dumps(json.loads((folder / name).read_text()) | change))
    write_manifest(folder)
    with pytest.raises(BundleError, match=match):
        open_bundle(folder)


def test_a_model_of_another_task_is_refused(tmp_path: Path) -> None:
    folder = write_tiny(tmp_path / "bundle", task=TextRegression(0.0, 1.0))
    assert load(folder, expect_task="text-regression").task.name == "text-regression"
    with pytest.raises(BundleError, match="another task: text-regression") as caught:
        load(folder, expect_task="text-classification")
    assert caught.value.expected == "text-classification"


def test_a_folder_that_is_no_bundle_is_refused_with_what_was_meant(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="does not exist"):
        open_bundle(tmp_path / "nowhere")
    with pytest.raises(BundleError, match="is a file"):
        open_bundle(folder / "README.md")
    with pytest.raises(BundleError) as caught:
        open_bundle(tmp_path)
    assert str(folder) in caught.value.cure


def external_graph(kind: str) -> onnx.ModelProto:
    built = graph()
    tensor = onnx.TensorProto(name="weights", data_type=TensorProto.FLOAT, dims=[2])
    if kind != "location only":
        tensor.external_data.add(key="location", value="../../secret")
    tensor.data_location = TensorProto.EXTERNAL
    if kind in ("initializer", "location only"):
        built.graph.initializer.append(tensor)
    elif kind == "attribute":
        built.graph.node.append(onnx.helper.make_node("Constant", [], ["c"], value=tensor))
    else:
        inner = onnx.helper.make_graph([], "inner", [], [], [tensor])
        built.graph.node.append(onnx.helper.make_node("If", ["x"], ["y"], then_branch=inner, else_branch=inner))
    return built


@pytest.mark.parametrize("kind", ["initializer", "location only", "attribute", "subgraph"])
def test_external_data_is_refused_when_writing_and_when_reading(folder: Path, kind: str) -> None:
    content = external_graph(kind).SerializeToString()
    (folder / "model.onnx").write_bytes(content)
    write_manifest(folder)
    with pytest.raises(BundleError, match="another file"):
        open_bundle(folder)
    (folder.parent / "m.onnx").write_bytes(content)
    tokenizer().save(str(folder.parent / "t.json"))
    with pytest.raises(BundleError, match="another file"):
        write(
            folder.parent / "second",
            onnx_file=folder.parent / "m.onnx",
            tokenizer=(folder.parent / "t.json").read_text(),
            task=TextClassification(("neg", "pos")),
            limits=Limits(),
            card="",
        )
    assert not (folder.parent / "second").exists()


def test_an_ordinary_graph_has_no_external_data() -> None:
    assert has_external_data(graph().SerializeToString()) is False


@pytest.mark.parametrize("content", [b"", b"not onnx at all", b"\xff" * 100])
def test_what_is_no_graph_is_refused(folder: Path, content: bytes) -> None:
    (folder / "model.onnx").write_bytes(content)
    write_manifest(folder)
    with pytest.raises(BundleError, match="not an ONNX file"):
        open_bundle(folder)


def test_a_graph_of_another_width_is_refused(tmp_path: Path) -> None:
    folder = write_tiny(tmp_path / "bundle", model=graph(width=3))
    with pytest.raises(BundleError, match="width 2"):
        load(folder)


def test_a_tokenizer_that_cannot_be_read_is_refused(folder: Path) -> None:
    (folder / "tokenizer.json").write_text('{"version": "9"}')
    write_manifest(folder)
    with pytest.raises(BundleError, match="tokenizer"):
        load(folder)


def test_writing_again_replaces_the_bundle(folder: Path) -> None:
    write_tiny(folder.with_name("other"), task=TextRegression(1.0, 2.0))
    parts = folder.with_name("other-parts")
    write(
        folder,
        onnx_file=parts / "m.onnx",
        tokenizer=(parts / "t.json").read_text(),
        task=TextRegression(1.0, 2.0),
        limits=Limits(long_text="window"),
        card="new",
    )
    assert open_bundle(folder).card == "new"
    assert open_bundle(folder).limits.long_text == "window"
