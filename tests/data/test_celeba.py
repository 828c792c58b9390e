"""CelebA: an archive or folder of its layout becomes images without factors, and is refused where it differs."""

import hashlib
import io
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from published_files import face, faces_archive

from disentangle_bench.data import celeba
from disentangle_bench.data.celeba import image, read
from disentangle_bench.data.checks import check_dataset
from disentangle_bench.data.download import get, get_missing
from disentangle_bench.data.load import load_dataset
from disentangle_bench.data.official import FILES
from disentangle_bench.data.registered_images import CelebA
from disentangle_bench.errors import BenchError

FEW = 6
ZIP, LAST = (facts.name for facts in FILES["celeba"])


def source(folder: Path) -> CelebA:
    """The data set of few images, as the archive or the folder that lies in `folder`."""
    found = CelebA()
    found.number = FEW
    archive, unpacked = FILES["celeba"]
    if (folder / ZIP).exists():
        archive = replace(archive, hashes={"md5": hashlib.md5((folder / ZIP).read_bytes()).hexdigest()})
    found.files = (archive, replace(unpacked, name=LAST.replace("202599", f"{FEW:06}")))
    return found


def unpack(folder: Path) -> Path:
    """The folder that the archive holds, in place of it."""
    with zipfile.ZipFile(folder / ZIP) as archive:
        archive.extractall(folder / "celeba")
    (folder / ZIP).unlink()
    return folder / "celeba" / "img_align_celeba"


@pytest.mark.parametrize("unpacked", [False, True])
def test_images_are_the_middles_of_the_files(tmp_path, unpacked, monkeypatch) -> None:
    monkeypatch.setattr(celeba, "BLOCK", 4)
    faces_archive(tmp_path / ZIP, FEW)
    if unpacked:
        unpack(tmp_path)
    dataset = source(tmp_path).load(data_dir=tmp_path)
    for k in range(FEW):
        whole = Image.open(io.BytesIO(face(k)))
        middle = whole.crop((15, 35, 163, 183)).resize((64, 64), Image.Resampling.BILINEAR)
        assert np.array_equal(dataset.images([k])[0].permute(1, 2, 0).numpy(), np.asarray(middle))
    assert (dataset.factor_names, dataset.provenance, len(dataset)) == ((), "official", FEW)
    check_dataset(dataset)


def test_archive_and_folder_are_one_data_set_and_a_later_start_needs_neither(tmp_path) -> None:
    faces_archive(tmp_path / ZIP, FEW)
    first = source(tmp_path).load(data_dir=tmp_path).fingerprint
    (tmp_path / "celeba.r1.npy").unlink()
    unpack(tmp_path)
    assert source(tmp_path).load(data_dir=tmp_path).fingerprint == first
    found = source(tmp_path)
    for path in (tmp_path / "celeba" / "img_align_celeba").iterdir():
        path.unlink()
    assert found.load(data_dir=tmp_path).fingerprint == first
    get_missing(found, tmp_path)


def test_the_middle_is_that_of_torchvisions_transforms() -> None:
    functional = pytest.importorskip("torchvision.transforms.functional")
    whole = Image.open(io.BytesIO(face(2)))
    theirs = functional.resize(functional.center_crop(whole, [148]), [64])
    assert np.array_equal(image("a face", face(2)), np.asarray(theirs).transpose(2, 0, 1))


def test_the_facts_of_the_published_archive() -> None:
    assert len(CelebA().outline({})) == 202_599
    datasets = pytest.importorskip("torchvision.datasets.celeba")
    hashes = {name: md5 for _, md5, name in datasets.CelebA.file_list}
    assert FILES["celeba"][0].hashes == {"md5": hashes[Path(ZIP).name]}
    assert Path(ZIP).parent.name == datasets.CelebA.base_folder


def test_without_the_files_the_error_says_what_to_do(tmp_path) -> None:
    with pytest.raises(BenchError, match=r"by hand from https://mmlab.*img_align_celeba\.zip is there\."):
        load_dataset("celeba", data_dir=tmp_path)
    with pytest.raises(BenchError, match=r"cannot be downloaded by a command. Get it by hand"):
        get("celeba", tmp_path)


def test_an_archive_with_another_hash_is_not_taken(tmp_path) -> None:
    faces_archive(tmp_path / ZIP, FEW)
    found = source(tmp_path)
    faces_archive(tmp_path / ZIP, FEW + 1)
    with pytest.raises(BenchError, match="damaged or another file"):
        found.load(data_dir=tmp_path)


def png() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (178, 218)).save(file, format="PNG")
    return file.getvalue()


def jpeg(mode: str, size: tuple[int, int]) -> bytes:
    file = io.BytesIO()
    Image.new(mode, size).save(file, format="JPEG")
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (png(), "cannot be read as a JPEG"),
        (jpeg("RGB", (178, 178)), r"is RGB of size \(178, 178\), not RGB of size \(178, 218\)"),
        (jpeg("L", (178, 218)), "is L of size"),
        (face(0)[:700], "cannot be read as a JPEG"),
        (b"", "cannot be read as a JPEG"),
        (face(0) + bytes(1 << 20), "has more than 1048576 bytes"),
    ],
)
def test_another_image_is_refused_by_its_name(tmp_path, content, message) -> None:
    faces_archive(tmp_path / ZIP, FEW)
    folder = unpack(tmp_path)
    (folder / "000003.jpg").write_bytes(content)
    with pytest.raises(BenchError, match=rf"000003\.jpg {message}"):
        list(read(folder, FEW))


def test_another_number_of_images_is_refused(tmp_path) -> None:
    faces_archive(tmp_path / ZIP, FEW - 1)
    with pytest.raises(BenchError, match=r"has 5 files \.jpg, CelebA has 6"):
        list(read(tmp_path / ZIP, FEW))
    folder = unpack(tmp_path)
    with pytest.raises(BenchError, match=r"has 5 files \.jpg, CelebA has 6"):
        list(read(folder, FEW))
    (folder / "7.jpg").write_bytes(face(1))
    with pytest.raises(BenchError, match=r"there is no file .*000006\.jpg"):
        list(read(folder, FEW))


def test_an_archive_of_other_names_is_refused(tmp_path) -> None:
    with zipfile.ZipFile(tmp_path / "faces.zip", "w") as archive:
        for k in range(FEW):
            archive.writestr(f"{k + 1:06}.jpg", face(k))
    with pytest.raises(BenchError, match=r"no item named 'img_align_celeba/000001\.jpg'"):
        list(read(tmp_path / "faces.zip", FEW))
